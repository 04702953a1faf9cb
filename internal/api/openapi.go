package api

import (
	_ "embed"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var documentYAML []byte

// document is the OpenAPI document as a tree, with its order.
var document = sync.OnceValues(func() (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(documentYAML, &doc); err != nil {
		return nil, fmt.Errorf("parse openapi.yaml: %w", err)
	}
	return doc.Content[0], nil
})

// documentJSON is the OpenAPI document as JSON.
var documentJSON = sync.OnceValues(func() ([]byte, error) {
	doc, err := document()
	if err != nil {
		return nil, err
	}
	return appendYAML(nil, doc)
})

// appendYAML appends a tree as JSON, its members in the same order.
func appendYAML(b []byte, n *yaml.Node) ([]byte, error) {
	var err error
	switch n.Kind {
	case yaml.MappingNode:
		b = append(b, '{')
		for i := 0; i < len(n.Content); i += 2 {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendQuoted(b, n.Content[i].Value), ':')
			if b, err = appendYAML(b, n.Content[i+1]); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	case yaml.SequenceNode:
		b = append(b, '[')
		for i, item := range n.Content {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendYAML(b, item); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case yaml.ScalarNode:
		switch n.Tag {
		case "!!str":
			return appendQuoted(b, n.Value), nil
		case "!!null":
			return append(b, "null"...), nil
		case "!!int", "!!float", "!!bool":
			if !jsontext.Value(n.Value).IsValid() {
				return nil, fmt.Errorf("openapi.yaml, line %d: %s is no JSON", n.Line, strconv.Quote(n.Value))
			}
			return append(b, n.Value...), nil
		}
	}
	return nil, fmt.Errorf("openapi.yaml, line %d: %s has no form in JSON", n.Line, n.Tag)
}

func serveDocument(w http.ResponseWriter, r *http.Request) error {
	text, err := documentJSON()
	if err != nil {
		return err
	}
	w.Header()["Cache-Control"] = revalidate
	writeJSON(w, http.StatusOK, text[:len(text):len(text)])
	return nil
}

// revalidate: another version of the server may have another document.
var revalidate = []string{"no-cache"}
