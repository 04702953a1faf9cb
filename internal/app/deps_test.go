package app_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the path of this module.
const module = "github.com/the-eye/eye"

// order says which packages of ours each package may import, in the order of an
// event's way: imports point back towards the words. To change a line, change
// ARCHITECTURE.md with it and say why.
var order = map[string]string{
	// words: values and rules; no I/O, no goroutines
	"internal/event":   "",
	"internal/access":  "internal/event internal/problem",
	"internal/problem": "internal/event",
	"internal/crash":   "",

	// flow
	"internal/ingest":          "internal/event internal/access internal/problem",
	"internal/journal":         "internal/event internal/crash",
	"internal/process":         "internal/event internal/journal internal/store",
	"internal/store":           "internal/event",
	"internal/store/duckdb":    "internal/event internal/store internal/crash",
	"internal/store/storetest": "internal/event internal/store",
	"internal/live":            "internal/event internal/store internal/problem",
	"internal/api":             "internal/event internal/access internal/problem internal/store internal/catalog",

	// around the flow
	"internal/catalog":  "internal/access",
	"internal/config":   "",
	"internal/app":      "*",
	"internal/eyetest":  "*",
	"internal/drill":    "*",
	"internal/bench":    "internal/event", // the words only: it acts from outside, as any client
	"client":            "",               // importable: nothing of the inside
	"client/clienttest": "client",
	"cmd/eye":           "*",
}

// owners are the packages that alone may know an engine, and why.
var owners = map[string]struct {
	packages []string
	why      string
}{
	"github.com/nats-io/":    {[]string{"internal/journal", "internal/catalog"}, "another journal must cost one package"},
	"github.com/duckdb/":     {[]string{"internal/store/duckdb"}, "each store keeps its engine and its dialect to itself"},
	"github.com/FastFilter/": {[]string{"internal/store/duckdb"}, "filters are part of that store's layout"},
	"net/http/pprof":         {[]string{"internal/app"}, "importing it opens routes on the default mux"},
}

func TestImportsPointBackTowardsTheWords(t *testing.T) {
	seen := map[string]bool{}
	// The files are read here rather than asked of the go command: the test
	// cache does not see what a command reads, and would answer for old files.
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "testdata" || name == "tools" || name == "sdk" || strings.HasPrefix(name, ".") && name != ".." {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		relative, err := filepath.Rel("../..", filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(relative)
		seen[pkg] = true
		allowed, known := order[pkg]
		if !known {
			t.Errorf("package %s is not in the import order: give it a line in %s", pkg, "internal/app/deps_test.go")
			order[pkg] = "*" // say it once
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if ours, ok := strings.CutPrefix(name, module+"/"); ok && allowed != "*" && !slices.Contains(strings.Fields(allowed), ours) {
				t.Errorf("%s imports %s: %s may import %q", path, ours, pkg, allowed)
			}
			for prefix, owner := range owners {
				if strings.HasPrefix(name, prefix) && !slices.Contains(owner.packages, pkg) {
					t.Errorf("%s imports %s, which only %s may: %s", path, name, strings.Join(owner.packages, " and "), owner.why)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range order {
		if !seen[pkg] {
			t.Errorf("the import order has a line for %s, which is not there", pkg)
		}
	}
}

// TestOnePackageDoc keeps one package comment in each package.
func TestOnePackageDoc(t *testing.T) {
	docs := map[string][]string{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		docs[dir] = append(docs[dir], nil...)
		if file.Doc != nil && !strings.HasSuffix(path, "_drill.go") { // the same package in another build
			docs[dir] = append(docs[dir], path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, files := range docs {
		if len(files) != 1 {
			t.Errorf("%s has %d package comments in %v; want one", dir, len(files), files)
		}
	}
}
