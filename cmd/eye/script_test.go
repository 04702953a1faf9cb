package main

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/the-eye/eye/client/clienttest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"eye": main})
}

// TestScript plays testdata/script. The command fake starts a stand-in for the
// server; `fake NAME SCOPE…` adds an application to it and sets NAME_KEY.
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("EYE_DATA", env.WorkDir+"/eye-data")
			env.Values[fakeServer{}] = &fakeServer{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fake": fake, "waitready": waitReady, "waitstored": waitStored, "waitfor": waitFor, "envfrom": envFrom,
		},
	})
}

// fakeServer is the stand-in of one script.
type fakeServer struct{ *clienttest.Server }

func fake(ts *testscript.TestScript, neg bool, args []string) {
	server := ts.Value(fakeServer{}).(*fakeServer)
	switch {
	case neg:
		ts.Fatalf("unsupported: ! fake")
	case len(args) > 0 && server.Server == nil:
		ts.Fatalf("there is no fake server yet to add %s to", args[0])
	case len(args) > 0:
		ts.Setenv(strings.ToUpper(args[0])+"_KEY", server.AddApplication(args[0], args[1:]...))
	case server.Server != nil:
		ts.Fatalf("the fake server runs already")
	default:
		server.Server = clienttest.New()
		url, stop := server.Serve()
		ts.Defer(stop)
		ts.Setenv("EYE_URL", url)
		ts.Setenv("EYE_KEY", clienttest.OperatorKey)
		ts.Setenv("OPERATOR_KEY", clienttest.OperatorKey)
	}
}
