// Command morse prints what it reads as flashes of a lamp.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

var signs = map[rune]string{
	'A': ".-", 'B': "-...", 'C': "-.-.", 'D': "-..", 'E': ".", 'F': "..-.",
	'G': "--.", 'H': "....", 'I': "..", 'J': ".---", 'K': "-.-", 'L': ".-..",
	'M': "--", 'N': "-.", 'O': "---", 'P': ".--.", 'Q': "--.-", 'R': ".-.",
	'S': "...", 'T': "-", 'U': "..-", 'V': "...-", 'W': ".--", 'X': "-..-",
	'Y': "-.--", 'Z': "--..",
}

// flashes leaves out what Morse has no sign for.
func flashes(line string) string {
	var out []string
	for _, letter := range strings.ToUpper(line) {
		if sign, known := signs[letter]; known {
			out = append(out, sign)
		} else if letter == ' ' {
			out = append(out, "/")
		}
	}
	return strings.Join(out, " ")
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println(flashes(lines.Text()))
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "morse:", err)
		os.Exit(1)
	}
}
