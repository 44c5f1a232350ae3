/**
 * What the share guard found, file by file, and the sum of it: what a person is shown before anything is published, and what a confirmation
 * is bound to. Holds no content and no secret: a finding names its rule and the place, never the bytes that set it off.
 *
 * Three degrees: a **note** is shown (a date, a program's name); what is **flagged** (position, author, serial number) or **refused** (keys,
 * hidden files) is an objection and stops the publication, unless it is named one by one (command) or confirmed as a whole (API).
 */
import { le64, toHex, utf8 } from '../../src/bytes/index.ts'
import { taggedHash } from '../../src/crypto/hash.ts'
import { OverlayError } from '../../src/errors/index.ts'

export type Severity = 'note' | 'flagged' | 'refused'

/** One thing that a rule saw in one file. */
export interface Finding {
  /** Stable name of the rule, for programs: `private-key`, `hidden`, `position`, … */
  readonly rule: string
  readonly severity: Severity
  /** Plain words for people. */
  readonly reason: string
}

/** A finding with what has to be named to let it pass: the file itself, or the folder above it that the rule is about. */
export interface Placed extends Finding {
  readonly where: string
}

/** A file that would go out. */
export interface ListedFile {
  /** Relative to what is published, `/` between parts. */
  readonly path: string
  readonly bytes: number
  readonly verdict: 'ok' | 'flagged' | 'refused'
  readonly findings: readonly Placed[]
  /** There were objections, and each was allowed by name. */
  readonly allowed: boolean
}

export interface Listing {
  /** Files in the order in which they go out: all with objections, and others, as far as the limits go. */
  readonly files: readonly ListedFile[]
  /** Files of which `files` tells nothing. */
  readonly unlisted: number
  readonly total: { readonly files: number; readonly bytes: number }
  /** Files that stop the publication. */
  readonly objections: number
}

export interface ListingLimits {
  /** Files with findings that are listed. */
  readonly found: number
  /** Files without, that are listed besides. */
  readonly clean: number
}

// Implementation constants.
/** For answers over HTTP: under 2 MiB of JSON. */
export const LISTED_OVER_HTTP: ListingLimits = { found: 5_000, clean: 500 }

/** The guard objects. `listing` says to what; `digest` stands for exactly these files, for a confirmation. */
export class GuardObjection extends OverlayError {
  readonly listing: Listing
  readonly digest: string
  constructor(listing: Listing, digest: string) {
    super('config', 'GUARD_REFUSED', objectionText(listing))
    this.listing = listing
    this.digest = digest
  }
}

function objectionText({ objections, total, files }: Listing): string {
  const first = files.find((file) => !file.allowed && file.verdict !== 'ok')
  const example = first?.findings.find(({ severity }) => severity !== 'note')
  const what = example === undefined ? '' : `, first ${shown(first?.path ?? '')}: ${example.reason}`
  return `${objections} of ${total.files} files would give away what is usually private${what}.`
}

/** A path for people: nothing in it can steer a terminal. */
export function shown(path: string): string {
  return path.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\ufffd')
}

/** Collects the verdicts of one publication. Memory is bounded by the limits, not by the number of files. */
export class ListingBook {
  readonly #limits: ListingLimits
  readonly #files: ListedFile[] = []
  #found = 0
  #clean = 0
  #count = 0
  #bytes = 0
  #objections = 0
  #digest: Uint8Array

  /** `purpose`: what the digest is bound to besides the files, so that a confirmation for one thing is none for another. */
  constructor(purpose: string, limits: ListingLimits = LISTED_OVER_HTTP) {
    this.#limits = limits
    this.#digest = taggedHash('gyre/1 guard listing', utf8(purpose))
  }

  /** Adds a file. `isAllowed` says which findings were allowed by name. `contentHash`: 32 bytes, or empty where there is no content. */
  add(
    path: string,
    bytes: number,
    found: readonly Placed[],
    contentHash: Uint8Array,
    isAllowed: (finding: Placed) => boolean,
  ): void {
    this.#digest = taggedHash('gyre/1 guard entry', this.#digest, utf8(path), le64(bytes), contentHash)
    this.#count++
    this.#bytes += bytes
    const grave = found.filter(({ severity }) => severity !== 'note')
    const objected = grave.some((finding) => !isAllowed(finding))
    if (objected) this.#objections++
    const listed = found.length > 0 ? this.#found++ < this.#limits.found : this.#clean++ < this.#limits.clean
    if (!listed) return
    const verdict = grave.some(({ severity }) => severity === 'refused') ? 'refused' : grave.length > 0 ? 'flagged' : 'ok'
    this.#files.push({ path, bytes, verdict, findings: found, allowed: grave.length > 0 && !objected })
  }

  /** What was added so far. */
  read(): { readonly listing: Listing; readonly digest: string } {
    const total = { files: this.#count, bytes: this.#bytes }
    const files = [...this.#files]
    return {
      listing: { files, unlisted: this.#count - files.length, total, objections: this.#objections },
      digest: toHex(this.#digest),
    }
  }
}
