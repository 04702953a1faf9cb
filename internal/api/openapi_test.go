package api_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/the-eye/eye/internal/api"
)

func TestDocumentIsValid(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := s.get("/openapi.json", "", 200)
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type = %s; want application/json", got)
	}
	doc, err := openapi3.NewLoader().LoadFromData([]byte(a.body))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("openapi = %s; want 3.1", doc.OpenAPI)
	}
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Error(err)
	}
	// Served as it is written, and the same every time.
	if again := s.get("/openapi.json", "", 200); again.body != a.body {
		t.Error("the document differs from one request to the next")
	}
	if !strings.HasPrefix(a.body, `{"openapi":"3.1.0","info":`) {
		t.Errorf("the document begins with %.40s; want the order in which it is written", a.body)
	}
}

// TestDocumentHasEveryRoute holds the table of routes against the document,
// both ways.
func TestDocumentHasEveryRoute(t *testing.T) {
	t.Parallel()
	doc, err := openAPI()
	if err != nil {
		t.Fatal(err)
	}
	var routes, described []string
	for _, rt := range api.Routes() {
		who := string(rt.Scope)
		switch {
		case rt.Public:
			who = "public"
		case rt.Known:
			who = "any"
		}
		routes = append(routes, rt.Method+" "+rt.Pattern+" "+who)
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			who, _ := op.Extensions["x-scope"].(string)
			described = append(described, method+" "+path+" "+who)
			checkSecurity(t, method+" "+path, who, doc, op)
			checkPathParameters(t, method+" "+path, path, op)
		}
	}
	slices.Sort(routes)
	slices.Sort(described)
	if !slices.Equal(routes, described) {
		t.Errorf("routes:\n%s\ndescribed:\n%s", strings.Join(routes, "\n"), strings.Join(described, "\n"))
	}
}

func checkSecurity(t *testing.T, name, who string, doc *openapi3.T, op *openapi3.Operation) {
	t.Helper()
	security := doc.Security
	if op.Security != nil {
		security = *op.Security
	}
	switch {
	case who == "public":
		if len(security) != 0 {
			t.Errorf("%s: security = %v; want none", name, security)
		}
	case len(security) != 2:
		t.Errorf("%s: security = %v; want bearer and basic", name, security)
	default:
		for _, requirement := range security {
			for scheme, scopes := range requirement {
				if want := []string{who}; who != "any" && !slices.Equal(scopes, want) || who == "any" && len(scopes) != 0 {
					t.Errorf("%s: security of %s = %v; want the scope %s", name, scheme, scopes, who)
				}
			}
		}
	}
}

func checkPathParameters(t *testing.T, name, path string, op *openapi3.Operation) {
	t.Helper()
	for _, p := range op.Parameters {
		if p.Value.In == "path" && !strings.Contains(path, "{"+p.Value.Name+"}") {
			t.Errorf("%s: has no %s in its path", name, p.Value.Name)
		}
	}
	if want, got := strings.Count(path, "{"), len(slices.DeleteFunc(slices.Clone(op.Parameters), func(p *openapi3.ParameterRef) bool { return p.Value.In != "path" })); got != want {
		t.Errorf("%s: %d parameters in the path are described; want %d", name, got, want)
	}
}

func TestDocsStandAlone(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := s.get("/docs", "", 200)
	if got, want := a.header.Get("Content-Security-Policy"), "default-src 'none'; style-src 'self'"; !strings.HasPrefix(got, want) {
		t.Errorf("Content-Security-Policy = %s; want %s", got, want)
	}
	for _, bad := range []string{"<script", "style=", "<style", "http://", "https://", "//cdn", "ZgotmplZ", "<no value>"} {
		if i := strings.Index(a.body, bad); i >= 0 {
			t.Errorf("the page has %q: …%.80s", bad, a.body[max(0, i-30):])
		}
	}
	for _, rt := range api.Routes() {
		if !strings.Contains(a.body, "<code>"+rt.Pattern+"</code>") {
			t.Errorf("the page does not show %s", rt.Pattern)
		}
	}
	for _, schema := range []string{"Event", "Problem", "Application"} {
		if !strings.Contains(a.body, `id="schema-`+schema+`"`) {
			t.Errorf("the page does not show the schema %s", schema)
		}
	}
	for link := range strings.SplitSeq(a.body, `href="#`) {
		id, _, _ := strings.Cut(link, `"`)
		if link != a.body[:len(link)] && !strings.Contains(a.body, `id="`+id+`"`) {
			t.Errorf("the page links to #%s, which is not there", id)
		}
	}
	if css := s.get("/docs/docs.css", "", 200); css.header.Get("Content-Type") != "text/css; charset=utf-8" || strings.Contains(css.body, "url(") {
		t.Errorf("the style sheet is %s and must need nothing else", css.header.Get("Content-Type"))
	}
}

func TestProblemTypesAreExplained(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, slug := range api.ProblemTypes() {
		if a := s.get("/problems/"+slug, "", 200); !strings.Contains(a.body, "/problems/"+slug) {
			t.Errorf("/problems/%s does not say which it is", slug)
		}
	}
	s.problem(s.get("/problems/none-such", "", 404), 404, "not-found", "")
	// Whatever any part of the server gives has to be there.
	used := regexp.MustCompile(`Type:\s+"([a-z-]+)",\s+Title:`)
	files, err := filepath.Glob("../*/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources to look through: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range used.FindAllSubmatch(text, -1) {
			if !slices.Contains(api.ProblemTypes(), string(m[1])) {
				t.Errorf("%s gives a problem %s, which is not explained", file, m[1])
			}
		}
	}
	if !slices.IsSorted(api.ProblemTypes()) {
		t.Error("the types of problems are not in order")
	}
}

func TestProbesAndVersion(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if a := s.get("/healthz", "", 200); strings.TrimSpace(a.body) != `{"status":"ok","checks":[]}` {
		t.Errorf("/healthz = %s", a.body)
	}
	if a := s.get("/readyz", "", 200); !strings.Contains(a.body, `{"name":"store","ok":true}`) {
		t.Errorf("/readyz = %s", a.body)
	}
	if a := s.get("/version", "", 200); strings.TrimSpace(a.body) != `{"version":"0.1.0","go":"go1.26"}` {
		t.Errorf("/version = %s", a.body)
	}
	s.get("/metrics", "", 200)
	s.mu.Lock()
	s.checks[1] = api.Check{Name: "store", Detail: "its file is gone"}
	s.mu.Unlock()
	p := s.problem(s.get("/readyz", "", 503), 503, "not-ready", "")
	if len(p.Checks) != 2 || p.Checks[1].OK || p.Checks[1].Detail != "its file is gone" || !strings.Contains(p.Detail, "store") {
		t.Errorf("/readyz = %+v; want it to say what cannot", p)
	}
	if a := s.do("HEAD", "/healthz", "", ""); a.status != 200 {
		t.Errorf("HEAD /healthz = %d; want 200", a.status)
	}
}

func TestDocumentKeepsNumbers(t *testing.T) {
	t.Parallel()
	var doc struct {
		Components struct {
			Parameters struct {
				Limit struct {
					Schema struct{ Minimum, Maximum, Default json.Number }
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(newServer(t).get("/openapi.json", "", 200).body), &doc); err != nil {
		t.Fatal(err)
	}
	if got := doc.Components.Parameters.Limit.Schema; got.Minimum != "1" || got.Maximum != "1000" || got.Default != "100" {
		t.Errorf("limit = %+v; want 1 to 1000, default 100", got)
	}
}
