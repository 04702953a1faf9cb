package api

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/the-eye/eye/internal/event"
	"github.com/the-eye/eye/internal/problem"
)

// maxBodyBytes bounds the bodies of management requests.
const maxBodyBytes = 256 << 10

var tooLarge = &problem.Problem{
	Status: http.StatusRequestEntityTooLarge, Type: "too-large", Title: "Too large",
	Detail: "The body may have at most " + strconv.Itoa(maxBodyBytes) + " bytes, and an application with all its credentials as many.",
}

// decodeBody reads a JSON body into to, strictly: unknown and repeated members
// and anything behind the value are refused.
func decodeBody(w http.ResponseWriter, r *http.Request, to any) error {
	if err := checkMediaType(r); err != nil {
		return err
	}
	body := http.MaxBytesReader(w, r.Body, maxBodyBytes)
	err := json.UnmarshalRead(body, to, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge
	}
	v := bodyViolation(err)
	return &problem.Problem{
		Status: http.StatusBadRequest, Type: "invalid-body", Title: "Invalid body",
		Detail: v.Message, Violations: []event.Violation{v},
	}
}

func checkMediaType(r *http.Request) error {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && (mediaType == "application/json" || mediaType == "application/merge-patch+json" && r.Method == http.MethodPatch):
	default:
		return &problem.Problem{
			Status: http.StatusUnsupportedMediaType, Type: "unsupported-media-type", Title: "Unsupported media type",
			Detail: "Send JSON, with the header Content-Type: application/json.",
		}
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return &problem.Problem{
			Status: http.StatusUnsupportedMediaType, Type: "unsupported-content-coding", Title: "Unsupported content coding",
			Detail: "Send the body without Content-Encoding.",
		}
	}
	return nil
}

// bodyViolation says what is wrong with a body without passing on the words of
// the library that found out.
func bodyViolation(err error) event.Violation {
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		v := event.Violation{Pointer: string(e.JSONPointer), Code: event.InvalidJSON}
		switch {
		case errors.Is(e.Err, jsontext.ErrDuplicateName):
			v.Message = "The member " + e.JSONPointer.LastToken() + " is there twice."
		case errors.Is(e, io.ErrUnexpectedEOF), errors.Is(e, io.EOF):
			v.Pointer, v.Message = "", "The JSON ends too early."
		default:
			v.Message = "This is no JSON, from byte " + strconv.FormatInt(e.ByteOffset, 10) + " on."
		}
		return v
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return event.Violation{Code: event.InvalidJSON, Message: "The body is empty or ends too early."}
	}
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		v := event.Violation{Pointer: string(e.JSONPointer), Code: event.WrongType}
		name := e.JSONPointer.LastToken()
		switch {
		case errors.Is(e.Err, json.ErrUnknownName):
			v.Code, v.Message = event.UnknownField, "There is no member "+strconv.Quote(name)+" here."
		case name == "":
			v.Message = "The body must be a JSON object."
		default:
			v.Message = name + " has the wrong type or does not fit."
		}
		return v
	}
	return event.Violation{Code: event.InvalidJSON, Message: "The body could not be read."}
}

// field is a member of a body: whether it was given, and what it is. null means
// what leaving it out means at creation.
type field[T any] struct {
	given bool
	null  bool
	value T
}

// UnmarshalJSONFrom reads the member.
func (f *field[T]) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	f.given = true
	if d.PeekKind() == 'n' {
		f.null = true
		return d.SkipValue()
	}
	return json.UnmarshalDecode(d, &f.value)
}

// or is the value, or otherwise when there is none.
func (f *field[T]) or(otherwise T) T {
	if !f.given || f.null {
		return otherwise
	}
	return f.value
}

// set makes to the value if the member was given, and otherwise (the default)
// if it is null.
func (f *field[T]) set(to *T, otherwise T) {
	if f.given {
		*to = f.or(otherwise)
	}
}
