/**
 * Looks through content of any length for marks of secrets and metadata, in bounded memory and at the speed of a few hundred MB/s.
 *
 *   push → [UTF-16 → one byte a character] → buffer (256 KiB) → marks (Wu and Manber's search for many strings) → look at the bytes around → findings
 *                           → probes for keys and phrases that have no mark (base58, seed phrases)
 *
 * The buffer keeps what a look may still need of either side, so that what is found does not depend on how the content was cut: a property
 * test says so. Each rule is reported once for each file.
 */
import { isImportKey } from './base58.ts'
import type { Finding } from './listing.ts'
import { type FileKind, KIND_BYTES, kindOf, LOOK_AHEAD_BYTES, LOOK_BACK_BYTES, latin1, type Mark } from './marks.ts'
import { METADATA_MARKS } from './metadata-marks.ts'
import { PHRASE_CHARS_MIN, phraseAt } from './mnemonic.ts'
import { SECRET_MARKS } from './secret-marks.ts'
import { Narrower } from './utf16.ts'

// Implementation constants.
const BUFFER_BYTES = 256 * 1024
/** Marks are sought when so many bytes have all their surroundings: a millisecond of work, so that a file is looked at as it comes. */
const STEP_BYTES = 16 * 1024
/** Looks at one mark that come to nothing, in one file; then it is said that not all were looked at. Bounds the time of a hostile file. */
const VAIN_LOOKS_MAX = 1_048_576
/** The same for marks whose looks unpack or walk through much. */
const VAIN_COSTLY_LOOKS_MAX = 4_096
/** Characters of the longest key in import format. */
const IMPORT_KEY_CHARS = 52
/** Every key and phrase without a mark covers at least one position that is a multiple of this. */
const PROBE_STEP = Math.min(PHRASE_CHARS_MIN, 51)

const MARKS: readonly Mark[] = [...SECRET_MARKS, ...METADATA_MARKS]

/** Wu and Manber's tables (Glimpse, 1994) with blocks of two bytes over the first four bytes of each mark. */
const PREFIX_BYTES = 4
const { shifts, buckets } = tablesOf(MARKS)

interface Marked {
  readonly mark: Mark
  readonly bytes: Uint8Array
  readonly index: number
}

function tablesOf(marks: readonly Mark[]): {
  readonly shifts: Uint8Array
  readonly buckets: ReadonlyMap<number, readonly Marked[]>
} {
  const shifts = new Uint8Array(65536).fill(PREFIX_BYTES - 1)
  const buckets = new Map<number, Marked[]>()
  marks.forEach((mark, index) => {
    const bytes = new Uint8Array(Buffer.from(mark.text, 'latin1'))
    for (let end = 1; end < PREFIX_BYTES; end++) {
      const block = (bytes[end - 1]! << 8) | bytes[end]!
      shifts[block] = Math.min(shifts[block]!, PREFIX_BYTES - 1 - end)
    }
    const last = (bytes[PREFIX_BYTES - 2]! << 8) | bytes[PREFIX_BYTES - 1]!
    buckets.set(last, [...(buckets.get(last) ?? []), { mark, bytes, index }])
  })
  return { shifts, buckets }
}

/** One file at a time; `reset` begins the next. Keeps up to 256 KiB of the content until then. */
export class ContentScanner {
  readonly #buffer = new Uint8Array(BUFFER_BYTES)
  #length = 0
  /** From here on marks are still to be sought. */
  #from = 0
  /** Position in the file of the buffer's first byte. */
  #offset = 0
  #kind: FileKind = 'other'
  #findings: Finding[] = []
  #rules = new Set<string>()
  readonly #vain = new Uint32Array(MARKS.length)
  readonly #narrower = new Narrower((bytes) => this.#take(bytes))

  get findings(): readonly Finding[] {
    return this.#findings
  }

  /** Whether there is a finding that stops a publication. */
  get objects(): boolean {
    return this.#findings.some(({ severity }) => severity !== 'note')
  }

  /** Forgets the file before and begins another. */
  reset(): void {
    this.#length = this.#from = this.#offset = 0
    this.#kind = 'other'
    this.#findings = []
    this.#rules = new Set()
    this.#vain.fill(0)
    this.#narrower.reset()
  }

  /** The next bytes of the file. Borrowed until return. */
  push(chunk: Uint8Array): void {
    this.#narrower.push(chunk)
  }

  #take(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; ) {
      const taken = Math.min(chunk.length - at, BUFFER_BYTES - this.#length, STEP_BYTES)
      this.#buffer.set(chunk.subarray(at, at + taken), this.#length)
      this.#length += taken
      at += taken
      const until = this.#length - LOOK_AHEAD_BYTES
      if (until >= this.#from + STEP_BYTES) this.#scan(until)
      if (this.#length === BUFFER_BYTES) this.#turn()
    }
  }

  /** The file is over: all findings. */
  end(): readonly Finding[] {
    this.#narrower.end()
    this.#scan(this.#length)
    return this.#findings
  }

  /** Scans what has all its surroundings, and moves the rest to the front. */
  #turn(): void {
    const until = BUFFER_BYTES - LOOK_AHEAD_BYTES
    this.#scan(until)
    const kept = until - LOOK_BACK_BYTES
    this.#buffer.copyWithin(0, kept)
    this.#length -= kept
    this.#offset += kept
    this.#from = LOOK_BACK_BYTES
  }

  /** Seeks marks that begin before `until`, and probes there. */
  #scan(until: number): void {
    const buffer = this.#buffer
    if (this.#offset === 0 && this.#from === 0) this.#kind = kindOf(buffer.subarray(0, Math.min(KIND_BYTES, this.#length)))
    const end = Math.min(until + PREFIX_BYTES - 1, this.#length)
    for (let at = this.#from + PREFIX_BYTES - 1; at < end; ) {
      const block = (buffer[at - 1]! << 8) | buffer[at]!
      const shift = shifts[block]!
      if (shift === 0) {
        this.#meet(at - PREFIX_BYTES + 1, buckets.get(block)!)
        at++
      } else {
        at += shift
      }
    }
    this.#probe(until)
    this.#from = until
  }

  #meet(at: number, bucket: readonly Marked[]): void {
    for (const { mark, bytes, index } of bucket) {
      if (!this.#standsAt(at, bytes) || mark.kinds?.includes(this.#kind) === false) continue
      if (mark.rules.every((rule) => this.#rules.has(rule))) continue
      if (this.#vain[index]! >= (mark.costly === true ? VAIN_COSTLY_LOOKS_MAX : VAIN_LOOKS_MAX)) {
        this.#add([
          {
            rule: 'not-all-seen',
            severity: 'flagged',
            reason: `has so many of the mark ${JSON.stringify(mark.text)} that not all were looked at`,
          },
        ])
        continue
      }
      const start = Math.max(0, at - LOOK_BACK_BYTES)
      const found = mark.look({
        bytes: this.#buffer.subarray(start, Math.min(this.#length, at + mark.ahead)),
        at: at - start,
        kind: this.#kind,
      })
      if (found.length === 0) this.#vain[index]!++
      this.#add(found)
    }
  }

  #standsAt(at: number, bytes: Uint8Array): boolean {
    if (at + bytes.length > this.#length) return false
    for (let one = 0; one < bytes.length; one++) if (this.#buffer[at + one] !== bytes[one]) return false
    return true
  }

  /** Looks at every `PROBE_STEP`th byte for what has no mark. */
  #probe(until: number): void {
    const bytes = this.#buffer.subarray(0, this.#length)
    const first = Math.ceil((this.#offset + this.#from) / PROBE_STEP) * PROBE_STEP - this.#offset
    for (let at = first; at < until && !this.#rules.has('wallet'); at += PROBE_STEP) {
      if (phraseAt(bytes, at)) this.#add([SEED_PHRASE])
      else if (ALNUM[bytes[at]!] === 1 && importKeyAt(bytes, at)) this.#add([IMPORT_KEY])
    }
  }

  #add(findings: readonly Finding[]): void {
    for (const finding of findings) {
      if (this.#rules.has(finding.rule)) continue
      this.#rules.add(finding.rule)
      this.#findings.push(finding)
    }
  }
}

const SEED_PHRASE: Finding = { rule: 'wallet', severity: 'refused', reason: "holds a wallet's seed phrase" }
const IMPORT_KEY: Finding = { rule: 'wallet', severity: 'refused', reason: "holds a wallet's private key" }

/** 1 for letters and digits. */
const ALNUM = Uint8Array.from({ length: 256 }, (_, byte) => (/[A-Za-z0-9]/.test(String.fromCharCode(byte)) ? 1 : 0))

/** Whether a private key in import format lies over position `at`, with no letter or digit on either side. Looks 53 bytes to either side. */
function importKeyAt(bytes: Uint8Array, at: number): boolean {
  let start = at
  let end = at + 1
  while (start > 0 && ALNUM[bytes[start - 1]!] === 1) if (at - --start >= IMPORT_KEY_CHARS) return false
  if (!IMPORT_KEY_FIRST.has(bytes[start]!)) return false
  while (end < bytes.length && ALNUM[bytes[end]!] === 1) if (++end - start > IMPORT_KEY_CHARS) return false
  return isImportKey(latin1(bytes, start, end))
}

const IMPORT_KEY_FIRST = new Set([...'59KLc'].map((char) => char.charCodeAt(0)))
