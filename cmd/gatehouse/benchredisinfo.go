package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	goredis "github.com/redis/go-redis/v9"
)

// addUp sums a figure of a section of INFO over every primary.
func addUp(ctx context.Context, client goredis.UniversalClient, section string, figure func(info string) (int64, error)) (int64, error) {
	var sum atomic.Int64
	one := func(ctx context.Context, node *goredis.Client) error {
		info, err := node.Info(ctx, section).Result()
		if err != nil {
			return fmt.Errorf("asking Redis for INFO %s: %w", section, err)
		}
		n, err := figure(info)
		sum.Add(n)
		return err
	}
	var err error
	switch client := client.(type) {
	case *goredis.ClusterClient:
		err = client.ForEachMaster(ctx, one)
	case *goredis.Client:
		err = one(ctx, client)
	default:
		err = fmt.Errorf("a client of type %T", client)
	}
	return sum.Load(), err
}

// infoField finds a field of INFO's lines "name:value".
func infoField(info, name string) (string, error) {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), name+":"); ok {
			return value, nil
		}
	}
	return "", fmt.Errorf("INFO of Redis does not say %s", name)
}

func infoNumber(info, name string) (int64, error) {
	text, err := infoField(info, name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("INFO of Redis says %s:%s", name, text)
	}
	return n, nil
}
