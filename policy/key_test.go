package policy

import (
	"crypto/dsa" //lint:ignore SA1019 such keys must be refused
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"testing"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// closePrimes is the product of two neighbouring primes, 2048 bits: Fermat's method factors it in one round.
const closePrimes = "" +
	"d2e7326603a5d4daef1af5b17d430cc31954c266f6d57b48c4b0d6cc5e364dcea6ba63561ee58e9c713fdf76f40691f9" +
	"836b1d0fee06fb0cd25a4cf11630e482fc02d7112a8b14c1f758605d29adcc4235c9a06328766ca05667ec5fb28e6700" +
	"195b87580ce6a2f258060aa6b5a9570f9e3f4138340f4d8855a9794516b5a251c0d4de40438f07d571c29ede1f627c59" +
	"aa16448ee71668e5a5077f5eea8dfa5d11065b7d0936e9d34527e21130e202b6b266eac6e24fc0ccdecfa7c8a3aa588b" +
	"e9a3d97d52b6775ddcc9dd9b9bca6d4e0e023dc5c182421444fe0d0052ee5553fdc471437bc1dd0d2f19b55ef853718f" +
	"3cdf718dbddffd85d06b98d6a7f64a63"

// rocaModulus has the fingerprint of the ROCA generator: modulo each small prime it is a power of 65537. It is no
// product of two primes, which no check asks for.
func rocaModulus(bits int) *big.Int {
	smooth := big.NewInt(1)
	for n := int64(2); n <= 167; n++ {
		if big.NewInt(n).ProbablyPrime(10) {
			smooth.Mul(smooth, big.NewInt(n))
		}
	}
	residue := new(big.Int).Exp(big.NewInt(65537), big.NewInt(12345), smooth)
	n := new(big.Int).Lsh(big.NewInt(3), uint(bits-2))
	n.Sub(n, new(big.Int).Mod(n, smooth)).Add(n, residue)
	for !coprimeTo752(n) {
		n.Add(n, smooth)
	}
	return n
}

func coprimeTo752(n *big.Int) bool {
	for f := int64(2); f < 752; f++ {
		if new(big.Int).Mod(n, big.NewInt(f)).Sign() == 0 {
			return false
		}
	}
	return true
}

func modulus(hex string) *big.Int {
	n, ok := new(big.Int).SetString(hex, 16)
	if !ok {
		panic("bad modulus in the test")
	}
	return n
}

func TestCheckKey(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	strong := rsaKey.PublicKey
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve := func(c elliptic.Curve) *ecdsa.PublicKey {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return &key.PublicKey
	}
	offCurve := &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}
	infinity := &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(0), Y: big.NewInt(0)}
	odd := func(bits int) *big.Int {
		return new(big.Int).Add(new(big.Int).Lsh(big.NewInt(3), uint(bits-2)), big.NewInt(1))
	}
	all := basic()
	all.KeyTypes = allKeyTypes()

	for _, c := range []struct {
		name string
		cfg  Config
		key  any
		says string // empty: passes
	}{
		{"RSA 2048", basic(), &strong, ""},
		{"P-256", basic(), curve(elliptic.P256()), ""},
		{"P-384", basic(), curve(elliptic.P384()), ""},
		{"P-521 by default", basic(), curve(elliptic.P521()), "does not allow"},
		{"P-521", all, curve(elliptic.P521()), ""},
		{"Ed25519 by default", basic(), ed, "does not allow"},
		{"Ed25519", all, ed, ""},
		{"Ed25519 in public mode", public(), ed, "does not allow"},
		{"RSA where only EC is", Config{Name: "a", Issuer: "b", KeyTypes: []KeyType{ECDSAP256}}, &strong, "allows ecdsa-p256"},
		{"P-224", all, curve(elliptic.P224()), "P-224"},
		{"RSA 1024", all, &rsa.PublicKey{N: odd(1024), E: 65537}, "1024 bits"},
		{"RSA 2047", all, &rsa.PublicKey{N: odd(2047), E: 65537}, "2047 bits"},
		{"RSA 8192", all, &rsa.PublicKey{N: odd(8192), E: 65537}, "8192 bits"},
		{"trust.md 3 exponent", all, &rsa.PublicKey{N: strong.N, E: 3}, "65537"},
		{"BR 6.1.1.3 small factor", all, &rsa.PublicKey{N: new(big.Int).Mul(odd(2046), big.NewInt(3)), E: 65537}, "weak"},
		{"BR 6.1.1.3 Fermat", all, &rsa.PublicKey{N: modulus(closePrimes), E: 65537}, "too close"},
		{"BR 6.1.1.3 ROCA", all, &rsa.PublicKey{N: rocaModulus(2048), E: 65537}, "Infineon"},
		{"SP 800-56A off curve", all, offCurve, "no point"},
		{"SP 800-56A infinity", all, infinity, "no point"},
		{"X25519", all, x25519.PublicKey(), "not certified"},
		{"DSA", all, &dsa.PublicKey{}, "not certified"},
		{"value instead of pointer", all, strong, "not certified"},
		{"nil", all, nil, "not certified"},
		{"nil RSA", all, (*rsa.PublicKey)(nil), "empty"},
		{"nil EC", all, (*ecdsa.PublicKey)(nil), "empty"},
		{"short Ed25519", all, ed[:31], "31 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := mustNew(t, c.cfg).CheckKey(c.key)
			if c.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantProblem(t, err, problem.BadCSR, c.says)
		})
	}
}

func TestBlockedKeys(t *testing.T) {
	blocked, free := ecKey(t).PublicKey, ecKey(t).PublicKey
	spki, err := x509.MarshalPKIXPublicKey(&blocked)
	if err != nil {
		t.Fatal(err)
	}
	cfg := basic()
	cfg.BlockedKeys = [][32]byte{sha256.Sum256(spki)}
	p := mustNew(t, cfg)
	wantProblem(t, p.CheckKey(&blocked), problem.BadCSR, "blocked")
	if err := p.CheckKey(&free); err != nil {
		t.Error(err)
	}
}
