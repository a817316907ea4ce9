// Says which version Helm takes: reads lines of {"versions": [...], "wanted": "..."} and answers each with one of
// {"chosen": "..."}; none if there is none, or if what is wanted is no constraint.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	repo "helm.sh/helm/v4/pkg/repo/v1"
)

type question struct {
	Versions []string `json:"versions"`
	Wanted   string   `json:"wanted"`
}

func answer(asked question, file string) (string, error) {
	var text strings.Builder
	text.WriteString("apiVersion: v1\nentries:\n  web:\n")
	for _, version := range asked.Versions {
		quoted, err := json.Marshal(version)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "  - apiVersion: v2\n    name: web\n    urls: [web.tgz]\n    version: %s\n", quoted)
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		return "", err
	}
	index, err := repo.LoadIndexFile(file)
	if err != nil {
		return "", err
	}
	found, err := index.Get("web", asked.Wanted)
	if err != nil {
		return "", nil
	}
	return found.Version, nil
}

func run(folder string) error {
	lines := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var asked question
		if err := json.Unmarshal(line, &asked); err != nil {
			return err
		}
		chosen, err := answer(asked, filepath.Join(folder, "index.yaml"))
		if err != nil {
			return err
		}
		if err := answers.Encode(map[string]string{"chosen": chosen}); err != nil {
			return err
		}
	}
}

func main() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	folder, err := os.MkdirTemp("", "chartversions-")
	if err == nil {
		err = run(folder)
		_ = os.RemoveAll(folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
