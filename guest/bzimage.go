package guest

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"
)

// Places in the header of a bzImage (Documentation/arch/x86/boot.rst).
const (
	bzSetupSects    = 0x1f1 // sectors of the setup code, the first apart; 0 means 4
	bzMagic         = 0x202 // "HdrS"
	bzVersion       = 0x206
	bzPayloadOffset = 0x248 // from the protected-mode code on, in bytes
	bzPayloadLength = 0x24c
	bzHeaderSize    = 0x250

	bzPayloadVersion = 0x208 // the first protocol that tells of the payload
	bzSector         = 512
)

// maxKernel bounds a kernel image in memory, in bytes, and what a compressed one
// may unpack to.
const maxKernel = 512 << 20

// maxDictionary bounds the dictionary of an xz payload, in bytes; kernels use up
// to 128 MiB.
const maxDictionary = 256 << 20

// isBZImage tells whether a file that begins so is a bzImage.
func isBZImage(head []byte) bool {
	return len(head) >= bzMagic+4 && string(head[bzMagic:bzMagic+4]) == "HdrS"
}

// unpackBZImage returns the kernel in a bzImage: an ELF file.
func unpackBZImage(r io.ReaderAt) ([]byte, error) {
	var h [bzHeaderSize]byte
	if _, err := r.ReadAt(h[:], 0); err != nil {
		return nil, fmt.Errorf("truncated: a bzImage's header has %d bytes", len(h))
	}
	if v := binary.LittleEndian.Uint16(h[bzVersion:]); v < bzPayloadVersion {
		return nil, fmt.Errorf("boot protocol %d.%02d, expected 2.08 or later", v>>8, v&0xff)
	}
	sects := int64(h[bzSetupSects])
	if sects == 0 {
		sects = 4
	}
	off := (sects+1)*bzSector + int64(binary.LittleEndian.Uint32(h[bzPayloadOffset:]))
	size := int64(binary.LittleEndian.Uint32(h[bzPayloadLength:]))
	if size < 8 || size > maxKernel {
		return nil, fmt.Errorf("a payload of %d bytes, expected 8 to %d", size, maxKernel)
	}
	payload, err := io.ReadAll(io.NewSectionReader(r, off, size))
	if err != nil {
		return nil, err
	}
	if int64(len(payload)) != size {
		return nil, fmt.Errorf("truncated: %d bytes of payload at %#x, expected %d", len(payload), off, size)
	}
	return unpack(payload)
}

// unpack decompresses a payload. Its last four bytes are the size of what was
// compressed: gzip's own, or appended by the kernel's build.
func unpack(payload []byte) (out []byte, err error) {
	size := int64(binary.LittleEndian.Uint32(payload[len(payload)-4:]))
	stream := payload[:len(payload)-4]
	var in io.Reader
	kind := ""
	// The libraries are not proof against every damaged stream.
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("damaged %s payload: %v", kind, p)
		}
	}()
	switch has := func(magic string) bool { return bytes.HasPrefix(payload, []byte(magic)) }; {
	case has(elf.ELFMAG):
		return payload, nil // CONFIG_KERNEL_UNCOMPRESSED
	case has("\xfd7zXZ\x00"):
		kind = "xz"
		in, err = xz.NewReader(bytes.NewReader(stream), maxDictionary)
	case has("\x28\xb5\x2f\xfd"):
		kind = "zstd"
		var z *zstd.Decoder
		if z, err = zstd.NewReader(bytes.NewReader(stream), zstd.WithDecoderMaxMemory(maxKernel), zstd.WithDecoderMaxWindow(maxKernel), zstd.WithDecoderConcurrency(1)); err == nil {
			defer z.Close()
			in = z
		}
	case has("\x1f\x8b"):
		kind = "gzip"
		in, err = gzip.NewReader(bytes.NewReader(payload))
	case has("\x02\x21\x4c\x18"), has("\x04\x22\x4d\x18"):
		kind = "lz4"
		in = lz4.NewReader(bytes.NewReader(stream))
	default:
		return nil, fmt.Errorf("payload begins with % x, expected xz, zstd, gzip or lz4%s", payload[:4], otherCompression(payload))
	}
	if err != nil {
		return nil, fmt.Errorf("damaged %s payload: %w", kind, err)
	}
	if size > maxKernel {
		return nil, fmt.Errorf("a kernel of %d bytes, expected at most %d", size, maxKernel)
	}
	return readExactly(in, kind, size, 16*int64(len(payload)))
}

// readExactly reads size bytes. A size that is not likely does not make it take
// memory: more than that is taken as the bytes come.
func readExactly(in io.Reader, kind string, size, likely int64) ([]byte, error) {
	// One byte more than there should be would show.
	buf := bytes.NewBuffer(make([]byte, 0, min(size, likely)+bytes.MinRead))
	n, err := buf.ReadFrom(io.LimitReader(in, size+1))
	switch {
	case err != nil && errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("damaged %s payload: ends after %d bytes, expected %d", kind, n, size)
	case err != nil:
		return nil, fmt.Errorf("damaged %s payload after %d bytes: %w", kind, n, err)
	case n != size:
		return nil, fmt.Errorf("damaged %s payload: holds %d bytes or more, its size says %d", kind, n, size)
	}
	return buf.Bytes(), nil
}

// otherCompression names what the kernel's build can use and this package cannot
// unpack.
func otherCompression(payload []byte) string {
	for _, c := range []struct{ magic, name string }{
		{"BZh", "bzip2"}, {"\x5d\x00\x00", "lzma"}, {"\x89LZO", "lzo"},
	} {
		if bytes.HasPrefix(payload, []byte(c.magic)) {
			return ": this is " + c.name
		}
	}
	return ""
}
