/**
 * Reads a capture as it comes (the classic pcap format, both byte orders, micro- and nanoseconds), and the TLS records in its TCP flows.
 * Pure: bytes in, calls out. It is the lab's outside view: times of the kernel, sizes on the wire, no help from the nodes.
 *
 *   bytes → packets → Ethernet, null or cooked header → IPv4 or IPv6 → TCP → each flow's bytes in order → TLS record headers
 *
 * A capture starts in the middle of connections. A flow is followed from the first segment that begins with a record's header; where a
 * segment is missing it is followed again from the next such segment, and the gap is counted.
 */

/** One TCP segment with payload. */
export interface Segment {
  /** Unix time, milliseconds. */
  readonly at: number
  readonly from: number
  readonly to: number
  readonly sequence: number
  /** Borrowed until return. */
  readonly payload: Buffer
  /** Payload on the wire, also where the capture cut it. */
  readonly payloadBytes: number
}

const MAGIC_MICRO = 0xa1b2c3d4
const MAGIC_NANO = 0xa1b23c4d
const FILE_HEADER_BYTES = 24
const PACKET_HEADER_BYTES = 16
/** Bytes of the header below IP, and where in it the protocol stands, by link type. */
const BELOW_IP: Readonly<Record<number, number>> = { 0: 4, 1: 14, 113: 16, 276: 20, 101: 0 }
const TCP = 6
/** A longer packet is none: the stream is not what it seems. */
const PACKET_BYTES_MAX = 1 << 20

/** Takes the bytes of a capture, cut anywhere, and calls `onSegment` for each TCP segment with payload. Errors: `Error` if it is no capture. */
export class PcapReader {
  readonly #onSegment: (segment: Segment) => void
  #left: Buffer = Buffer.alloc(0)
  #little = true
  #nano = false
  #below = -1
  packets = 0

  constructor(onSegment: (segment: Segment) => void) {
    this.#onSegment = onSegment
  }

  push(chunk: Buffer): void {
    const bytes = this.#left.length === 0 ? chunk : Buffer.concat([this.#left, chunk])
    let at = 0
    if (this.#below < 0) {
      if (bytes.length < FILE_HEADER_BYTES) {
        this.#left = bytes
        return
      }
      this.#readHeader(bytes)
      at = FILE_HEADER_BYTES
    }
    for (;;) {
      if (bytes.length - at < PACKET_HEADER_BYTES) break
      const captured = this.#u32(bytes, at + 8)
      if (captured > PACKET_BYTES_MAX) throw new Error(`A packet of ${captured} bytes: this is no capture.`)
      if (bytes.length - at < PACKET_HEADER_BYTES + captured) break
      const ms = this.#u32(bytes, at) * 1e3 + this.#u32(bytes, at + 4) / (this.#nano ? 1e6 : 1e3)
      const from = at + PACKET_HEADER_BYTES
      this.packets++
      this.#packet(ms, bytes.subarray(from, from + captured))
      at = from + captured
    }
    this.#left = at < bytes.length ? bytes.subarray(at) : Buffer.alloc(0)
  }

  #u32(bytes: Buffer, at: number): number {
    return this.#little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at)
  }

  #readHeader(bytes: Buffer): void {
    const known = [MAGIC_MICRO, MAGIC_NANO]
    this.#little = known.includes(bytes.readUInt32LE(0))
    if (!this.#little && !known.includes(bytes.readUInt32BE(0))) throw new Error('Not a pcap capture.')
    this.#nano = this.#u32(bytes, 0) === MAGIC_NANO
    const type = this.#u32(bytes, 20) & 0xffff
    const below = BELOW_IP[type]
    if (below === undefined) throw new Error(`Captures of link type ${type} are not read.`)
    this.#below = below
  }

  #packet(at: number, packet: Buffer): void {
    const ip = this.#below
    if (packet.length < ip + 20) return
    const version = packet[ip]! >> 4
    let tcp: number
    let end: number
    if (version === 4) {
      if (packet[ip + 9] !== TCP) return
      tcp = ip + (packet[ip]! & 15) * 4
      end = ip + packet.readUInt16BE(ip + 2)
      // 0: longer than 64 KiB, or left to the card; then the packet as captured is all there is to go by.
      if (end === ip) end = packet.length
    } else if (version === 6 && packet.length >= ip + 40) {
      if (packet[ip + 6] !== TCP) return
      tcp = ip + 40
      end = tcp + packet.readUInt16BE(ip + 4)
      if (end === tcp) end = packet.length
    } else return
    if (packet.length < tcp + 20) return
    const payloadAt = tcp + (packet[tcp + 12]! >> 4) * 4
    if (end <= payloadAt) return
    this.#onSegment({
      at,
      from: packet.readUInt16BE(tcp),
      to: packet.readUInt16BE(tcp + 2),
      sequence: packet.readUInt32BE(tcp + 4),
      payload: packet.subarray(payloadAt, Math.min(end, packet.length)),
      payloadBytes: end - payloadAt,
    })
  }
}

const RECORD_HEADER_BYTES = 5
/** RFC 8446 §5.2. */
const RECORD_BYTES_MAX = 16_384 + 256
const TYPE_FIRST = 20
const TYPE_LAST = 23

/**
 * One direction of one TCP connection: counts its TLS records by their length on the wire, header included. A connection's handshake ends, for
 * this reader, with the first record of the size that cells have: what comes before it is counted apart.
 */
export class TlsFlow {
  /** Records by length on the wire, from the first cell on. */
  readonly sizes = new Map<number, number>()
  /** Records before it: the handshake. */
  readonly early = new Map<number, number>()
  /** Times that the flow was lost: segments missing, or no record where one must begin. */
  gaps = 0
  #expected = -1
  /** Bytes of the record under way that are still to come. */
  #missing = 0
  readonly #header = Buffer.alloc(RECORD_HEADER_BYTES)
  #headerBytes = 0
  #length = 0
  readonly #cellRecordBytes: number
  #cells = false

  constructor(cellRecordBytes: number) {
    this.#cellRecordBytes = cellRecordBytes
  }

  /** Takes the next segment; gives the records that it completed. Bytes that came before (sent again) are left out. */
  push({ sequence, payload, payloadBytes }: Segment): number {
    let from = 0
    if (this.#expected >= 0 && sequence !== this.#expected) {
      const behind = (this.#expected - sequence) >>> 0
      if (behind < 0x4000_0000) {
        if (behind >= payloadBytes) return 0
        from = behind
      } else this.#lose()
    }
    if (this.#expected < 0) {
      if (!startsRecord(payload, from)) return 0
      this.#missing = 0
      this.#headerBytes = 0
    }
    this.#expected = (sequence + payloadBytes) >>> 0
    const records = this.#take(payload, from)
    if (payload.length < payloadBytes) this.#lose() // the capture cut it
    return records
  }

  #take(payload: Buffer, start: number): number {
    let records = 0
    for (let at = start; at < payload.length; ) {
      if (this.#missing > 0) {
        const taken = Math.min(this.#missing, payload.length - at)
        this.#missing -= taken
        at += taken
        if (this.#missing === 0) records += this.#count()
        continue
      }
      this.#header[this.#headerBytes++] = payload[at++]!
      if (this.#headerBytes < RECORD_HEADER_BYTES) continue
      this.#headerBytes = 0
      if (!startsRecord(this.#header, 0)) {
        this.#lose()
        return records
      }
      this.#length = this.#header.readUInt16BE(3)
      this.#missing = this.#length
      if (this.#missing === 0) records += this.#count()
    }
    return records
  }

  #count(): number {
    const size = this.#length + RECORD_HEADER_BYTES
    this.#cells ||= size === this.#cellRecordBytes
    const counts = this.#cells ? this.sizes : this.early
    counts.set(size, (counts.get(size) ?? 0) + 1)
    return 1
  }

  #lose(): void {
    this.gaps++
    this.#expected = -1
  }
}

function startsRecord(bytes: Buffer, at: number): boolean {
  if (bytes.length < at + RECORD_HEADER_BYTES) return false
  const type = bytes[at]!
  if (type < TYPE_FIRST || type > TYPE_LAST || bytes[at + 1] !== 3 || bytes[at + 2]! > 4) return false
  return bytes.readUInt16BE(at + 3) <= RECORD_BYTES_MAX
}
