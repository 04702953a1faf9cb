package api

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

//go:embed docs.html docs.css
var docsFiles embed.FS

// docsPolicy lets a page load its own style sheet and nothing else at all.
const docsPolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

var docsTemplates = sync.OnceValues(func() (*template.Template, error) {
	return template.New("docs.html").Funcs(template.FuncMap{"prose": prose, "paragraphs": paragraphs}).ParseFS(docsFiles, "docs.html")
})

// docsPage is the finished page of the document.
var docsPage = sync.OnceValues(func() ([]byte, error) {
	doc, err := document()
	if err != nil {
		return nil, err
	}
	return renderDocs("page", docsReader{root: doc}.read())
})

func renderDocs(name string, data any) ([]byte, error) {
	t, err := docsTemplates()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, name, data); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func serveDocs(w http.ResponseWriter, r *http.Request) error {
	page, err := docsPage()
	if err != nil {
		return err
	}
	writeHTML(w, page)
	return nil
}

func serveStyle(w http.ResponseWriter, r *http.Request) error {
	style, err := docsFiles.ReadFile("docs.css")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header()["Cache-Control"] = revalidate
	w.Write(style) // the reader may be gone; there is nobody left to tell
	return nil
}

func writeHTML(w http.ResponseWriter, page []byte) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", docsPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h["Cache-Control"] = revalidate
	h.Set("Content-Length", strconv.Itoa(len(page)))
	w.Write(page) // the reader may be gone; there is nobody left to tell
}

// What the page shows.
type (
	docs struct {
		Title, Summary, Description string
		Groups                      []docsGroup
		Schemas                     []docsSchema
		Problems                    []problemType
	}
	docsGroup struct {
		Name, Description string
		Operations        []docsOperation
	}
	docsOperation struct {
		ID, Method, Path, Scope, Summary, Description string
		Parameters                                    []docsField
		Bodies                                        []docsField // by media type
		Example                                       string
		Answers                                       []docsField // by status
	}
	docsField struct {
		Name, In    string
		Required    bool
		Type        template.HTML
		Description string
	}
	docsSchema struct {
		Name, Description string
		Type              template.HTML
		Fields            []docsField
	}
)

// docsReader reads what the page shows out of the document.
type docsReader struct{ root *yaml.Node }

// member is a member of a mapping, an empty node when it is not there.
func member(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return &yaml.Node{}
}

// each calls f with every member of a mapping.
func each(n *yaml.Node, f func(name string, value *yaml.Node)) {
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		f(n.Content[i].Value, n.Content[i+1])
	}
}

// resolve follows a $ref.
func (d docsReader) resolve(n *yaml.Node) *yaml.Node {
	ref := member(n, "$ref").Value
	if ref == "" {
		return n
	}
	target := d.root
	for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		target = member(target, name)
	}
	return target
}

func (d docsReader) read() docs {
	info := member(d.root, "info")
	page := docs{
		Title: member(info, "title").Value, Summary: member(info, "summary").Value,
		Description: member(info, "description").Value, Problems: problemTypes,
	}
	group := make(map[string]int)
	for i, tag := range member(d.root, "tags").Content {
		name := member(tag, "name").Value
		group[name] = i
		page.Groups = append(page.Groups, docsGroup{Name: name, Description: member(tag, "description").Value})
	}
	each(member(d.root, "paths"), func(path string, item *yaml.Node) {
		each(item, func(method string, op *yaml.Node) {
			g := &page.Groups[group[member(op, "tags").Content[0].Value]]
			g.Operations = append(g.Operations, d.operation(path, method, op))
		})
	})
	each(member(member(d.root, "components"), "schemas"), func(name string, schema *yaml.Node) {
		s := docsSchema{Name: name, Description: member(schema, "description").Value, Type: d.typeOf(schema)}
		s.Fields = d.fields(schema)
		page.Schemas = append(page.Schemas, s)
	})
	return page
}

func (d docsReader) operation(path, method string, op *yaml.Node) docsOperation {
	o := docsOperation{
		ID: member(op, "operationId").Value, Method: strings.ToUpper(method), Path: path,
		Scope:   member(op, "x-scope").Value,
		Summary: member(op, "summary").Value, Description: member(op, "description").Value,
	}
	for _, p := range member(op, "parameters").Content {
		p = d.resolve(p)
		o.Parameters = append(o.Parameters, docsField{
			Name: member(p, "name").Value, In: member(p, "in").Value,
			Required: member(p, "required").Value == "true",
			Type:     d.typeOf(member(p, "schema")), Description: member(p, "description").Value,
		})
	}
	each(member(member(op, "requestBody"), "content"), func(mediaType string, media *yaml.Node) {
		o.Bodies = append(o.Bodies, docsField{Name: mediaType, Type: d.typeOf(member(media, "schema"))})
		each(member(media, "examples"), func(_ string, example *yaml.Node) {
			o.Example = d.example(member(example, "value"))
		})
	})
	each(member(op, "responses"), func(status string, answer *yaml.Node) {
		answer = d.resolve(answer)
		f := docsField{Name: status, Description: member(answer, "description").Value}
		each(member(answer, "content"), func(mediaType string, media *yaml.Node) {
			f.In = mediaType
			f.Type = d.typeOf(member(media, "schema"))
		})
		o.Answers = append(o.Answers, f)
	})
	return o
}

// example is JSON over several lines.
func (d docsReader) example(n *yaml.Node) string {
	text, err := appendYAML(nil, n)
	if err != nil {
		return ""
	}
	return indent(text)
}

func (d docsReader) fields(schema *yaml.Node) []docsField {
	required := make(map[string]bool)
	for _, name := range member(schema, "required").Content {
		required[name.Value] = true
	}
	var fields []docsField
	each(member(schema, "properties"), func(name string, property *yaml.Node) {
		description := member(property, "description").Value
		if description == "" {
			description = member(d.resolve(property), "description").Value
		}
		fields = append(fields, docsField{Name: name, Required: required[name], Type: d.typeOf(property), Description: description})
	})
	return fields
}

// typeOf says in a few words what a schema takes, with links to those that have
// a name. Every text of the document is escaped.
func (d docsReader) typeOf(schema *yaml.Node) template.HTML {
	text := template.HTMLEscapeString
	if ref := member(schema, "$ref").Value; ref != "" {
		name := text(ref[strings.LastIndexByte(ref, '/')+1:])
		return template.HTML(`<a href="#schema-` + name + `">` + name + `</a>`)
	}
	for word, between := range map[string]string{"oneOf": " or ", "allOf": " with "} {
		var parts []string
		for _, part := range member(schema, word).Content {
			if t := d.typeOf(part); t != "" && t != "object" {
				parts = append(parts, string(t))
			}
		}
		if parts != nil {
			return template.HTML(strings.Join(parts, between))
		}
	}
	var names []string
	kind := member(schema, "type")
	if kind.Kind == yaml.SequenceNode {
		for _, k := range kind.Content {
			names = append(names, k.Value)
		}
	} else if kind.Value != "" {
		names = append(names, kind.Value)
	}
	var words []string
	for _, name := range names {
		switch name {
		case "array":
			words = append(words, "array of "+string(d.typeOf(member(schema, "items"))))
		case "object":
			var inner []string
			for _, f := range d.fields(schema) {
				inner = append(inner, "<code>"+text(f.Name)+"</code>")
			}
			if inner != nil {
				words = append(words, "object with "+strings.Join(inner, ", "))
			} else {
				words = append(words, "object")
			}
		default:
			words = append(words, text(name))
		}
	}
	what := strings.Join(words, " or ")
	var values []string
	for _, v := range member(schema, "enum").Content {
		values = append(values, "<code>"+text(v.Value)+"</code>")
	}
	if values != nil {
		what = strings.Join(values, ", ")
	}
	least, most := member(schema, "minimum").Value, member(schema, "maximum").Value
	if least != "" && most != "" {
		what += fmt.Sprintf(", %s to %s", text(least), text(most))
	} else if least != "" {
		what += ", at least " + text(least)
	}
	if most := member(schema, "maxLength").Value; most != "" {
		what += ", at most " + text(most) + " characters"
	}
	if otherwise := member(schema, "default").Value; otherwise != "" {
		what += ", default " + text(otherwise)
	}
	return template.HTML(what)
}

// prose escapes a text and makes code of what stands between backquotes.
func prose(text string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(text, "`") {
		part = template.HTMLEscapeString(part)
		if i%2 == 1 {
			part = "<code>" + part + "</code>"
		}
		b.WriteString(part)
	}
	return template.HTML(b.String())
}

// paragraphs splits a text at its empty lines.
func paragraphs(text string) []string {
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	return strings.Split(text, "\n\n")
}
