package event

import "github.com/go-json-experiment/json/jsontext"

// Code says which rule was broken. The codes are part of the HTTP contract.
type Code string

// The codes.
const (
	InvalidJSON       Code = "invalid_json"
	Required          Code = "required"
	WrongType         Code = "type"
	UnknownField      Code = "unknown_field"
	TooLong           Code = "too_long"
	InvalidTimestamp  Code = "invalid_timestamp"
	TimestampInFuture Code = "timestamp_in_future"
	TimestampTooOld   Code = "timestamp_too_old"
	UnknownEventType  Code = "unknown_event_type"
	NotAllowed        Code = "not_allowed"
	TooLarge          Code = "too_large"
	IDConflict        Code = "id_conflict"
	Schema            Code = "schema"
)

// Violation is one reason why an event was refused, or marked.
type Violation struct {
	Pointer string `json:"pointer"`           // JSON Pointer (RFC 6901) into the event as sent; "" is the event itself
	Code    Code   `json:"code"`              //
	Keyword string `json:"keyword,omitempty"` // the payload keyword that failed, with code schema
	Message string `json:"message"`           // a sentence for a person: what is wrong and what would be right
}

// MaxViolations bounds what is reported about one event.
const MaxViolations = 50

// AppendViolations appends the violations as a JSON array. What is no UTF-8 in
// a pointer becomes U+FFFD.
func AppendViolations(b []byte, violations []Violation) []byte {
	member := func(name, value string) {
		b = append(b, name...)
		b, _ = jsontext.AppendQuote(b, value) // the error is about what became U+FFFD
	}
	b = append(b, '[')
	for i, v := range violations {
		if i > 0 {
			b = append(b, ',')
		}
		member(`{"pointer":`, v.Pointer)
		member(`,"code":`, string(v.Code))
		if v.Keyword != "" {
			member(`,"keyword":`, v.Keyword)
		}
		member(`,"message":`, v.Message)
		b = append(b, '}')
	}
	return append(b, ']')
}
