package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/the-eye/eye/internal/access"
)

// Files of a data directory beside journal/ and store/.
const (
	lockFile     = "lock"
	addressFile  = "serve.json"
	adminKeyFile = "admin.key"
)

// Address says where a running service is to be found.
type Address struct {
	URL string `json:"url"`
	PID int    `json:"pid"`
}

// dir is the data directory, locked by this process.
type dir struct {
	root string
	lock *os.File
}

// openDir makes the directory when it is missing, and locks it.
func openDir(root string) (*dir, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	d := &dir{root: root}
	for _, name := range []string{"", "journal", "store"} {
		if err := os.MkdirAll(d.path(name), 0o700); err != nil {
			return nil, fmt.Errorf("make data directory: %w; choose another with --data", err)
		}
	}
	d.lock, err = os.OpenFile(d.path(lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := syscall.Flock(int(d.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		d.lock.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock data directory %s: %w", root, err)
		}
		by := "another process"
		if a, err := ReadAddress(root); err == nil {
			by = fmt.Sprintf("another eye serve (process %d, %s)", a.PID, a.URL)
		}
		return nil, fmt.Errorf("data directory %s is in use by %s; stop it first, or give this one a directory of its own with --data", root, by)
	}
	return d, nil
}

// path is the path of a file in the directory.
func (d *dir) path(name string) string { return filepath.Join(d.root, name) }

// close unlocks the directory.
func (d *dir) close() {
	os.Remove(d.path(addressFile))
	d.lock.Close() // with it goes the lock
}

// announce writes down where the service is, for commands on this machine.
func (d *dir) announce(a Address) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if err := writeFile(d.path(addressFile), append(text, '\n')); err != nil {
		return fmt.Errorf("write down the address: %w", err)
	}
	return nil
}

// ReadAddress is where the service on the data directory root is.
func ReadAddress(root string) (Address, error) {
	var a Address
	text, err := os.ReadFile(filepath.Join(root, addressFile))
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(text, &a)
}

// adminKey is the operator's key: the one given, or one that is made at the
// first start and kept in the directory.
func (d *dir) adminKey(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	path := d.path(adminKeyFile)
	text, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read the operator's key: %w", err)
	}
	key := access.NewKey()
	if err := writeFile(path, []byte(key+"\n")); err != nil {
		return "", fmt.Errorf("keep the operator's key: %w", err)
	}
	return key, nil
}

// writeFile writes a file that only its owner may read, whole or not at all.
func writeFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// addressOf is where a listener can be reached from this machine.
func addressOf(l net.Listener) Address {
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		panic("app: a TCP listener has a host and a port: " + err.Error())
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return Address{URL: "http://" + net.JoinHostPort(host, port), PID: os.Getpid()}
}
