// Package ring keeps the last readings of a sensor.
package ring

import (
	"errors"
	"sync"
)

// ErrEmpty says that nothing has been measured yet.
var ErrEmpty = errors.New("ring: no readings")

// Buffer forgets its oldest reading when it is full.
type Buffer struct {
	mu       sync.Mutex
	readings []float64
	next     int
	full     bool
}

// New makes a buffer of a fixed size.
func New(size int) *Buffer {
	return &Buffer{readings: make([]float64, size)}
}

// Add writes over the oldest reading.
func (b *Buffer) Add(reading float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readings[b.next] = reading
	b.next = (b.next + 1) % len(b.readings)
	b.full = b.full || b.next == 0
}

// Mean is the average of what is kept.
func (b *Buffer) Mean() (float64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.readings[:b.next]
	if b.full {
		kept = b.readings
	}
	if len(kept) == 0 {
		return 0, ErrEmpty
	}
	sum := 0.0
	for _, reading := range kept {
		sum += reading
	}
	return sum / float64(len(kept)), nil
}
