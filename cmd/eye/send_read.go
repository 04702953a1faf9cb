package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/the-eye/eye/client"
)

// record is one event of a file, right or wrong.
type record struct {
	json json.RawMessage
	at   place
}

// place is where a record stands.
type place struct {
	file  string // "-" is standard input
	line  int    // from 1; 0 where the file is not made of lines
	index int    // from 0, among the events of the file
}

func (p place) String() string {
	file := p.file
	if file == "-" {
		file = "standard input"
	}
	if p.line > 0 {
		return fmt.Sprintf("%s:%d", file, p.line)
	}
	return fmt.Sprintf("%s[%d]", file, p.index)
}

// maxRecord bounds one event in memory. The server takes much less.
const maxRecord = 16 << 20

// readFile tells the events of a file, in order, until tell returns false.
func readFile(name string, stdin io.Reader, read func(int), tell func(record) bool) error {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	r := &recordReader{name: name, in: bufio.NewReaderSize(&counted{in, read}, 64<<10), max: maxRecord, tell: tell}
	err := r.read()
	if err != nil && !errors.Is(err, errPlaced) {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return err
}

// counted tells how many bytes were read.
type counted struct {
	io.Reader
	read func(int)
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.read(n)
	return n, err
}

// recordReader takes a file apart.
type recordReader struct {
	name  string
	in    *bufio.Reader
	max   int // bytes of one event
	tell  func(record) bool
	index int
	line  int
}

// errPlaced: the error says where it is.
var errPlaced = errors.New("the rest of the file cannot be read")

// read finds out how the file is made, and reads it.
func (r *recordReader) read() error {
	first, err := r.peek()
	switch {
	case err == io.EOF:
		return nil
	case err != nil:
		return err
	case first == '[':
		return r.values(true)
	}
	line, err := r.nextLine()
	if err != nil && err != io.EOF {
		return err
	}
	// A line that is a whole object, or no beginning of one, is one of many
	// lines. The beginning of an object is one that goes over several lines.
	if beginsObject(line) && err != io.EOF {
		r.in = bufio.NewReader(io.MultiReader(bytes.NewReader(append(line, '\n')), r.in))
		return r.values(false)
	}
	return r.lines(line, err)
}

// beginsObject tells whether line could go on to be a JSON object.
func beginsObject(line []byte) bool {
	err := json.NewDecoder(bytes.NewReader(line)).Decode(new(json.RawMessage))
	return errors.Is(err, io.ErrUnexpectedEOF) && bytes.HasPrefix(line, []byte("{"))
}

// peek returns the first byte that is no space, and reads up to it.
func (r *recordReader) peek() (byte, error) {
	if bom, err := r.in.Peek(3); err == nil && string(bom) == "\ufeff" {
		r.in.Discard(3)
	}
	for {
		b, err := r.in.ReadByte()
		if err != nil {
			return 0, err
		}
		switch b {
		case '\n':
			r.line++
		case ' ', '\t', '\r':
		default:
			return b, r.in.UnreadByte()
		}
	}
}

// lines reads events that are a line each, of which the first is read already.
func (r *recordReader) lines(line []byte, err error) error {
	for {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if !r.tell(record{line, place{r.name, r.line, r.index}}) {
				return nil
			}
			r.index++
		}
		if err == io.EOF {
			return nil
		}
		if line, err = r.nextLine(); err != nil && err != io.EOF {
			return err
		}
	}
}

// nextLine reads one line, without its end. The last one comes with io.EOF.
func (r *recordReader) nextLine() ([]byte, error) {
	r.line++
	var line []byte
	for {
		part, err := r.in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > r.max:
			return nil, fmt.Errorf("%s: line %d is longer than %d bytes: %w", r.name, r.line, r.max, errPlaced)
		case err == bufio.ErrBufferFull:
			continue
		}
		return bytes.TrimSuffix(line, []byte("\n")), err
	}
}

// values reads events that follow one another as JSON, inside of an array or not.
func (r *recordReader) values(array bool) error {
	limit := &limited{r.in, r.max}
	dec := json.NewDecoder(limit)
	if array {
		dec.Token() // the bracket is there
	}
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return r.broken(dec, err)
		}
		if !r.tell(record{raw, place{file: r.name, index: r.index}}) {
			return nil
		}
		r.index++
		limit.left = r.max
	}
	if array {
		if _, err := dec.Token(); err != nil {
			return r.broken(dec, err)
		}
	}
	if _, err := dec.Token(); err != io.EOF {
		if err == nil {
			err = errors.New("there is more behind the end")
		}
		return r.broken(dec, err)
	}
	return nil
}

// broken says where JSON breaks off.
func (r *recordReader) broken(dec *json.Decoder, err error) error {
	if errors.Is(err, errTooLarge) {
		return fmt.Errorf("%s[%d] is larger than %d bytes: %w", r.name, r.index, r.max, errPlaced)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%s is no JSON behind %s (byte %d): %v: %w", r.name, count(int64(r.index), "event"), dec.InputOffset(), err, errPlaced)
}

// errTooLarge: one event goes on and on.
var errTooLarge = errors.New("too large")

// limited fails when more than left bytes are read.
type limited struct {
	io.Reader
	left int
}

func (l *limited) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, errTooLarge
	}
	n, err := l.Reader.Read(b[:min(len(b), l.left)])
	l.left -= n
	return n, err
}

// withID gives the event an id where it has none. What is no JSON object stays
// as it is: the server says what is wrong with it.
func withID(event json.RawMessage) json.RawMessage {
	var has struct {
		ID json.RawMessage `json:"id"`
	}
	if event[0] != '{' || json.Unmarshal(event, &has) != nil || has.ID != nil {
		return event
	}
	head := `{"id":"` + client.NewID() + `"`
	rest := bytes.TrimLeft(event[1:], " \t\r\n")
	if rest[0] != '}' {
		head += ","
	}
	return append([]byte(head), rest...)
}

// readAll reads the files and hands their events over until ctx is done.
func readAll(ctx context.Context, files []string, stdin io.Reader, read func(int), records chan<- record) error {
	for _, name := range files {
		err := readFile(name, stdin, read, func(r record) bool {
			r.json = withID(bytes.Clone(r.json))
			select {
			case records <- r:
				return true
			case <-ctx.Done():
				return false
			}
		})
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}
