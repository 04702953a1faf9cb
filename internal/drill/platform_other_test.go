//go:build !linux

package drill_test

import "syscall"

func ownNamespace() (code int, done bool) { return 0, false }

func childAttributes() *syscall.SysProcAttr { return nil }
