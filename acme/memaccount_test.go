package acme

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

func (m *memStore) CreateAccount(_ context.Context, a *Account, by *auth.EABKey) error {
	err := m.enter("CreateAccount")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	if _, taken := m.keys[a.Thumbprint]; taken || m.accounts[a.ID] != nil {
		return errConflict
	}
	if by != nil {
		key, ok := m.external[by.ID]
		if !ok || key.Version != by.Version {
			return errConflict
		}
		if !key.Reusable {
			key.Account, key.Version = string(a.ID), newVersion()
			m.external[by.ID] = key
		}
	}
	a.Version = newVersion()
	m.keys[a.Thumbprint], m.accounts[a.ID] = a.ID, a.clone()
	return nil
}

func (m *memStore) AccountByKey(_ context.Context, thumbprint string) (*Account, error) {
	err := m.enter("AccountByKey")
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if a := m.accounts[m.keys[thumbprint]]; a != nil {
		return a.clone(), nil
	}
	return nil, problem.New(problem.NotFound, "no account has this key")
}

func (m *memStore) UpdateAccount(_ context.Context, a *Account) error {
	err := m.enter("UpdateAccount")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	if current := m.accounts[a.ID]; current == nil || current.Version != a.Version {
		return errConflict
	}
	a.Version = newVersion()
	m.accounts[a.ID] = a.clone()
	return nil
}

func (m *memStore) RollKey(_ context.Context, a *Account, old string) error {
	err := m.enter("RollKey")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	if current := m.accounts[a.ID]; current == nil || current.Version != a.Version || m.keys[old] != a.ID || m.keys[a.Thumbprint] != "" {
		return errConflict
	}
	a.Version = newVersion()
	delete(m.keys, old)
	m.keys[a.Thumbprint], m.accounts[a.ID] = a.ID, a.clone()
	return nil
}
