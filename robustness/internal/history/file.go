package history

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// Save writes the run as compressed JSON.
func (r *Run) Save(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("keeping a history: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return fmt.Errorf("keeping a history: %w", err)
	}
	if err := json.NewEncoder(z).Encode(r); err != nil {
		return fmt.Errorf("keeping a history: %w", err)
	}
	return z.Close()
}

// Load reads a run that Save has written.
func Load(path string) (*Run, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading a history: %w", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("reading a history: %w", err)
	}
	var r Run
	if err := json.NewDecoder(z).Decode(&r); err != nil {
		return nil, fmt.Errorf("reading a history: %w", err)
	}
	return &r, nil
}
