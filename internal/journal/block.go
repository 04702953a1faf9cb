package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/the-eye/eye/internal/event"
)

// The layout of a block; docs/format/journal.md describes it byte by byte.
const (
	formatVersion = 1

	codecStored = 0 // body is the raw bytes
	codecS2     = 1 // body is one S2 block

	headerSize    = 20
	checksumSize  = 4
	blockOverhead = headerSize + checksumSize
	batchOverhead = 2 * binary.MaxVarintLen32

	// maxBlockBytes bounds a block as stored and maxRawBytes its raw bytes,
	// for reader and writer. JetStream's own record limit is 32 MiB.
	maxBlockBytes = 24 << 20
	maxRawBytes   = 24 << 20

	// messageOverhead is set aside for the headers of the message.
	messageOverhead = 4 << 10
	// maxPayload is what an embedded server accepts as one message.
	maxPayload = maxBlockBytes + messageOverhead
)

var (
	magic      = [4]byte{'E', 'Y', 'E', 'J'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Block is one message of the journal: what was committed together.
type Block struct {
	Sequence uint64 // in the stream, from 1
	Time     time.Time
	Batches  []Batch // in order; none in a block that only tested the way
	Records  int     // sum of the batches' counts

	raw *[]byte // what Batches point into, when it came from the pool
}

// Batch is what one Append brought. The first record of a block's first batch
// has index 0; counting goes on through all batches.
type Batch struct {
	Records []byte
	Count   int
}

// Release gives the block's memory back for reuse. It is optional, and nothing
// of the block's Batches may be used after it.
func (b *Block) Release() {
	if b.raw != nil {
		rawBuffers.Put(b.raw)
	}
	*b = Block{Sequence: b.Sequence, Time: b.Time, Records: b.Records}
}

// rawBuffers holds buffers for decoded blocks. Only ordinary sizes are kept.
var rawBuffers = sync.Pool{New: func() any { return new([]byte) }}

const maxPooledBytes = 8 << 20

// An encoder builds one block after another in the same memory.
type encoder struct {
	raw     []byte
	out     []byte
	batches int
	records int
}

func (e *encoder) reset() { e.raw, e.batches, e.records = e.raw[:0], 0, 0 }

// add copies a batch into the block.
func (e *encoder) add(records []byte, count int) {
	e.raw = binary.AppendUvarint(e.raw, uint64(count))
	e.raw = binary.AppendUvarint(e.raw, uint64(len(records)))
	e.raw = append(e.raw, records...)
	e.batches++
	e.records += count
}

// release gives up memory that a rare large block left behind.
func (e *encoder) release() {
	const keep = 64 << 10
	if cap(e.raw) > keep {
		e.raw = nil
	}
	if cap(e.out) > keep {
		e.out = nil
	}
}

// finish compresses and seals the block. The answer is valid until the next
// call of finish.
func (e *encoder) finish() []byte {
	codec, need := byte(codecStored), len(e.raw)
	if n := s2.MaxEncodedLen(len(e.raw)); n > need {
		need = n
	}
	if need += blockOverhead; cap(e.out) < need {
		e.out = make([]byte, need)
	}
	out := e.out[:cap(e.out)]
	body := out[headerSize:headerSize]
	if len(e.raw) > 0 {
		if c := s2.Encode(out[headerSize:cap(out)-checksumSize], e.raw); len(c) < len(e.raw) {
			codec, body = codecS2, c
		}
	}
	if codec == codecStored {
		body = append(body, e.raw...)
	}
	copy(out, magic[:])
	out[4] = formatVersion
	out[5] = codec
	out[6], out[7] = 0, 0
	binary.LittleEndian.PutUint32(out[8:], uint32(e.batches))
	binary.LittleEndian.PutUint32(out[12:], uint32(e.records))
	binary.LittleEndian.PutUint32(out[16:], uint32(len(e.raw)))
	end := headerSize + len(body)
	binary.LittleEndian.PutUint32(out[end:], crc32.Checksum(out[:end], castagnoli))
	return out[:end+checksumSize]
}

// EncodeBlock appends the block of the batches to dst. The journal's own
// committer does the same in reused memory; this is for tools and tests.
func EncodeBlock(dst []byte, batches []Batch) ([]byte, error) {
	var e encoder
	for i, b := range batches {
		if b.Count < 1 || len(b.Records) == 0 {
			return dst, fmt.Errorf("encode block: batch %d is empty", i)
		}
		if e.records+b.Count > event.MaxBlockRecords || len(e.raw)+len(b.Records)+batchOverhead > maxRawBytes {
			return dst, fmt.Errorf("encode block: %w", ErrTooLarge)
		}
		e.add(b.Records, b.Count)
	}
	return append(dst, e.finish()...), nil
}

// Why a message is no block. CorruptError carries them.
var (
	errNoBlock  = errors.New("not a block of this journal")
	errChecksum = errors.New("checksum does not match")
	errLayout   = errors.New("layout is inconsistent")
)

// DecodeBlock decodes what EncodeBlock made. It takes at most 24 MiB for the
// raw bytes and 2 MiB for the list of batches, whatever the data claims. The
// block may point into data.
func DecodeBlock(data []byte) (Block, error) {
	if len(data) < blockOverhead || [4]byte(data) != magic {
		return Block{}, errNoBlock
	}
	end := len(data) - checksumSize
	if crc32.Checksum(data[:end], castagnoli) != binary.LittleEndian.Uint32(data[end:]) {
		return Block{}, errChecksum
	}
	if v := data[4]; v != formatVersion {
		return Block{}, fmt.Errorf("%w: block format %d, this program knows %d", ErrNewerFormat, v, formatVersion)
	}
	codec := data[5]
	batches := int(binary.LittleEndian.Uint32(data[8:]))
	records := int(binary.LittleEndian.Uint32(data[12:]))
	rawLen := int(binary.LittleEndian.Uint32(data[16:]))
	body := data[headerSize:end]
	// A batch takes three bytes at least: two numbers and one of content.
	if data[6] != 0 || data[7] != 0 || rawLen > maxRawBytes || records > event.MaxBlockRecords || batches > records || 3*batches > rawLen {
		return Block{}, errLayout
	}
	b := Block{Records: records}
	raw := body
	switch codec {
	case codecStored:
		if len(body) != rawLen {
			return Block{}, errLayout
		}
	case codecS2:
		if n, err := s2.DecodedLen(body); err != nil || n != rawLen {
			return Block{}, errLayout
		}
		if rawLen <= maxPooledBytes {
			b.raw = rawBuffers.Get().(*[]byte)
			if cap(*b.raw) < rawLen {
				*b.raw = make([]byte, rawLen)
			}
			raw = (*b.raw)[:rawLen]
		} else {
			raw = make([]byte, rawLen)
		}
		var err error
		if raw, err = s2.Decode(raw, body); err != nil {
			b.Release()
			return Block{}, fmt.Errorf("%w: %w", errLayout, err)
		}
	default:
		return Block{}, fmt.Errorf("%w: codec %d", errLayout, codec)
	}
	if batches > 0 {
		b.Batches = make([]Batch, batches)
	}
	if !split(raw, b.Batches, records) {
		b.Release()
		return Block{}, errLayout
	}
	return b, nil
}

// split cuts raw into the batches; it must come out even.
func split(raw []byte, batches []Batch, records int) bool {
	for i := range batches {
		count, n := binary.Uvarint(raw)
		if n <= 0 || count < 1 || count > uint64(records) {
			return false
		}
		raw = raw[n:]
		size, n := binary.Uvarint(raw)
		if n <= 0 || size < 1 || size > uint64(len(raw)-n) {
			return false
		}
		end := n + int(size)
		batches[i] = Batch{Records: raw[n:end:end], Count: int(count)}
		records -= int(count)
		raw = raw[end:]
	}
	return len(raw) == 0 && records == 0
}
