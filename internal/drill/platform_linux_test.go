package drill_test

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// inNamespace is set in a test process that has a mount namespace of its own.
const inNamespace = "EYE_DRILL_NAMESPACE"

// ownNamespace runs the tests again in a process with a mount namespace of its
// own, when it may make one: what is mounted there is seen by nobody else, and
// goes away with the process, however that ends.
func ownNamespace() (code int, done bool) {
	if os.Geteuid() != 0 || os.Getenv(inNamespace) != "" {
		return 0, false
	}
	path, err := os.Executable()
	if err != nil {
		return 0, false
	}
	runtime.LockOSThread() // Pdeathsig is about the thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command(path, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, false
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return max(exit.ExitCode(), 1), true
	}
	if err != nil {
		return 1, true
	}
	return 0, true
}

// childAttributes end the program under test with the test.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
