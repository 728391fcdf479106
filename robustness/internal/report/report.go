package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Report is the result of a whole run.
type Report struct {
	Scenarios []Row
	// Missing lists what a full run is short of.
	Missing []string `json:",omitempty"`
	Mutants []Mutant `json:",omitempty"`
}

// FileJSON is the file name of the report as JSON.
const FileJSON = "report.json"

const fileSVG = "recovery.svg"

// Save writes the report into a folder: as Markdown, as JSON, and the picture.
func (r *Report) Save(dir string) error {
	var text strings.Builder
	if err := r.markdown(&text); err != nil {
		return err
	}
	asJSON, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"report.md": []byte(text.String()), FileJSON: asJSON, fileSVG: SVG(r.Scenarios),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// Load reads a report that Save has written, from its JSON file.
func Load(path string) (*Report, error) {
	content, err := os.ReadFile(path)
	r := new(Report)
	if err == nil {
		err = json.Unmarshal(content, r)
	}
	if err != nil {
		return r, fmt.Errorf("reading a report: %w", err)
	}
	return r, nil
}
