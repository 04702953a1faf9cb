package duckdb

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strconv"
	"strings"
	"sync"

	duck "github.com/duckdb/duckdb-go/v2"
	"github.com/go-json-experiment/json/jsontext"
)

// pathEqualsName is the SQL function behind store.PathEquals:
// (data, JSON Pointer, value) → whether it holds. The engine's own JSON
// functions compare numbers by value, and lose digits of long ones.
const pathEqualsName = "eye_path_equals"

// pointer is the path as a JSON Pointer.
func pointer(path []string) string {
	var p jsontext.Pointer
	for _, name := range path {
		p = p.AppendToken(name)
	}
	return string(p)
}

// registerFunctions makes our SQL functions known to the engine.
func registerFunctions(c *sql.Conn) error {
	if err := duck.RegisterScalarUDF(c, pathEqualsName, pathEqualsFunction{}); err != nil {
		return fmt.Errorf("register %s: %w", pathEqualsName, err)
	}
	return nil
}

type pathEqualsFunction struct{}

func (pathEqualsFunction) Config() duck.ScalarFuncConfig {
	text, err := duck.NewTypeInfo(duck.TYPE_VARCHAR)
	if err != nil {
		panic("store: VARCHAR is a type: " + err.Error())
	}
	boolean, err := duck.NewTypeInfo(duck.TYPE_BOOLEAN)
	if err != nil {
		panic("store: BOOLEAN is a type: " + err.Error())
	}
	return duck.ScalarFuncConfig{InputTypeInfos: []duck.TypeInfo{text, text, text}, ResultTypeInfo: boolean}
}

func (pathEqualsFunction) Executor() duck.ScalarFuncExecutor {
	return duck.ScalarFuncExecutor{RowExecutor: func(v []driver.Value) (any, error) {
		return pathEquals(v[0].(string), jsontext.Pointer(v[1].(string)), v[2].(string)), nil
	}}
}

// decoders are for pathEquals, which runs for every row of a scan. Payloads
// were checked when they came in: only their values matter here.
var decoders = sync.Pool{New: func() any {
	return jsontext.NewDecoder(strings.NewReader(""), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}}

// pathEquals says whether data has at path a string equal to value, or a
// number, true, false or null whose JSON text is value.
func pathEquals(data string, path jsontext.Pointer, value string) bool {
	d := decoders.Get().(*jsontext.Decoder)
	defer decoders.Put(d)
	d.Reset(strings.NewReader(data), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for name := range path.Tokens() {
		if !descend(d, name) {
			return false
		}
	}
	switch d.PeekKind() {
	case '"':
		token, err := d.ReadToken()
		return err == nil && token.String() == value
	case '0', 't', 'f', 'n':
		text, err := d.ReadValue()
		return err == nil && string(text) == value
	}
	return false
}

// descend moves to the member or element of the next value that has that name.
func descend(d *jsontext.Decoder, name string) bool {
	opened, err := d.ReadToken()
	if err != nil {
		return false
	}
	switch opened.Kind() {
	case '{':
		for d.PeekKind() == '"' {
			member, err := d.ReadToken()
			if err != nil {
				return false
			}
			if member.String() == name {
				return true
			}
			if d.SkipValue() != nil {
				return false
			}
		}
	case '[':
		wanted, err := strconv.ParseUint(name, 10, 32)
		if err != nil || strconv.FormatUint(wanted, 10) != name {
			return false
		}
		for ; wanted > 0; wanted-- {
			if d.PeekKind() == ']' || d.SkipValue() != nil {
				return false
			}
		}
		return d.PeekKind() != ']'
	}
	return false
}
