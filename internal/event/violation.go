package event

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
