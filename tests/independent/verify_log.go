// Verifies a log and its receipts with the Go team's implementation of transparency logs (golang.org/x/mod/sumdb/tlog
// and note), which shares no code with the one that wrote them.
//
//	verify_log VERIFIER-KEY-FILE LOG-FOLDER [RECEIPT...]
//
// It checks the checkpoint's signature, leads the entries up to the root, compares every tile of the tree with its file,
// and checks each receipt's proof. The names and the format of files are those of https://c2sp.org/tlog-tiles.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8
	width  = 1 << height
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: verify_log VERIFIER-KEY-FILE LOG-FOLDER [RECEIPT...]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(keyFile, folder string, receipts []string) error {
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(key)))
	if err != nil {
		return fmt.Errorf("%s: %w", keyFile, err)
	}
	path := filepath.Join(folder, "checkpoint")
	signed, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	tree, err := openCheckpoint(signed, verifier)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	hashes, err := readEntries(folder, tree.N)
	if err != nil {
		return err
	}
	root, err := tlog.TreeHash(tree.N, hashes)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return fmt.Errorf("%s: commits to another tree than that of the entries", path)
	}
	if err := compareTiles(folder, tree.N, hashes); err != nil {
		return err
	}
	for _, receipt := range receipts {
		if err := checkReceipt(receipt, verifier); err != nil {
			return fmt.Errorf("%s: %w", receipt, err)
		}
	}
	fmt.Printf("verified %d leaves and %d receipts of %s\n", tree.N, len(receipts), verifier.Name())
	return nil
}

// openCheckpoint checks the signature and reads the three lines: origin, size, root.
func openCheckpoint(signed []byte, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] != verifier.Name() {
		return tlog.Tree{}, errors.New("is not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return tlog.Tree{}, errors.New("has no size")
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return tlog.Tree{}, err
	}
	return tlog.Tree{N: size, Hash: root}, nil
}

// memory holds all hashes of a tree, by the index that package tlog gives them.
type memory []tlog.Hash

func (m memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index < 0 || index >= int64(len(m)) {
			return nil, errors.New("hash beyond the tree")
		}
		out[i] = m[index]
	}
	return out, nil
}

// readEntries builds the tree from the entries alone.
func readEntries(folder string, size int64) (memory, error) {
	var hashes memory
	for start := int64(0); start < size; start += width {
		count := size - start
		if count > width {
			count = width
		}
		path := filepath.Join(folder, name("entries", start/width, int(count)))
		bundle, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for i := int64(0); i < count; i++ {
			if len(bundle) < 2 {
				return nil, fmt.Errorf("%s: ends within an entry", path)
			}
			length := int(binary.BigEndian.Uint16(bundle))
			bundle = bundle[2:]
			if len(bundle) < length {
				return nil, fmt.Errorf("%s: ends within an entry", path)
			}
			added, err := tlog.StoredHashes(start+i, bundle[:length], hashes)
			if err != nil {
				return nil, err
			}
			hashes = append(hashes, added...)
			bundle = bundle[length:]
		}
		if len(bundle) != 0 {
			return nil, fmt.Errorf("%s: has bytes after its last entry", path)
		}
	}
	return hashes, nil
}

// compareTiles compares each tile of the tree with the file that should hold it.
func compareTiles(folder string, size int64, hashes memory) error {
	for _, tile := range tlog.NewTiles(height, 0, size) {
		// NewTiles lists a partial tile in every width that it has had. The last is the one that must be there.
		if last := size>>(height*uint(tile.L)) - tile.N<<height; int64(tile.W) < last && tile.W < width {
			continue
		}
		expected, err := tlog.ReadTileData(tile, hashes)
		if err != nil {
			return err
		}
		path := filepath.Join(folder, name(strconv.Itoa(tile.L), tile.N, tile.W))
		found, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Equal(found, expected) {
			return fmt.Errorf("%s: is not the tile of this tree", path)
		}
	}
	return nil
}

// name is the path of a tile or bundle as C2SP writes it; package tlog's own Tile.Path is older and differs.
func name(level string, number int64, w int) string {
	path := fmt.Sprintf("%03d", number%1000)
	for number /= 1000; number > 0; number /= 1000 {
		path = fmt.Sprintf("x%03d/%s", number%1000, path)
	}
	if w < width {
		path += fmt.Sprintf(".p/%d", w)
	}
	return "tile/" + level + "/" + path
}

// checkReceipt checks that the leaf in a receipt is in the tree of the receipt's checkpoint.
func checkReceipt(path string, verifier note.Verifier) error {
	file, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := strings.SplitAfter(string(file), "\n")
	if lines[0] != "firebreak receipt format 1\n" {
		return errors.New("is not a receipt of format 1")
	}
	index := int64(-1)
	var proof tlog.RecordProof
	for i := 1; i < len(lines); i++ {
		key, value, _ := strings.Cut(strings.TrimSuffix(lines[i], "\n"), " ")
		switch key {
		case "index":
			if index, err = strconv.ParseInt(value, 10, 64); err != nil {
				return err
			}
		case "opening":
		case "proof":
			hash, err := base64.StdEncoding.DecodeString(value)
			if err != nil || len(hash) != tlog.HashSize {
				return errors.New("has a proof that is no hash")
			}
			proof = append(proof, *(*tlog.Hash)(hash))
		case "leaf":
			count, err := strconv.Atoi(value)
			if err != nil || count < 1 || i+1+count >= len(lines) || lines[i+1+count] != "\n" {
				return errors.New("has no leaf followed by a checkpoint")
			}
			leaf := strings.Join(lines[i+1:i+1+count], "")
			tree, err := openCheckpoint([]byte(strings.Join(lines[i+2+count:], "")), verifier)
			if err != nil {
				return err
			}
			return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash([]byte(leaf)))
		default:
			return errors.New("has a line that receipts do not have")
		}
	}
	return errors.New("has no leaf")
}
