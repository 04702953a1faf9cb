package event

// Position is the place of a record in the journal: the block's sequence number
// and the record's index inside that block. Positions order as the journal took
// the records. The zero Position is before all of them.
type Position uint64

// indexBits bound the records of one block: 65,536.
const indexBits = 16

// MaxBlockRecords is the number of records that one block can hold.
const MaxBlockRecords = 1 << indexBits

// At is the position of record index (from 0) in block (from 1).
func At(block uint64, index int) Position {
	return Position(block<<indexBits | uint64(index))
}

// Block is the sequence number of the block that holds the record.
func (p Position) Block() uint64 { return uint64(p) >> indexBits }

// Index is the place of the record in its block, from 0.
func (p Position) Index() int { return int(uint64(p) & (MaxBlockRecords - 1)) }
