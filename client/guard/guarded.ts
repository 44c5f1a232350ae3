/**
 * The guard around a publication that streams: bytes go on to the publisher while they are looked at, and the stream fails before its end if
 * there is an objection. A publication stores its root last, so what has left by then are shares that nobody can find, open or tell from
 * noise. From the first objection on nothing more leaves: the rest is only read, so that the listing is whole and the digest covers all.
 *
 *   source → path rules → size → ContentScanner (secrets, metadata) ∥ SHA-256 → publisher
 *                                         └ objection: drain → GuardObjection
 */
import { createHash } from 'node:crypto'
import type { SiteFile } from '../library.ts'
import { type Finding, GuardObjection, ListingBook, type Placed } from './listing.ts'
import { judgePath } from './path-rules.ts'
import { ContentScanner } from './scanner.ts'

/** Files of a folder over this length are an objection: few mean to publish one that large without naming it. */
export const FILE_BYTES_MAX = 512 * 1024 * 1024

export interface GuardRules {
  /** What is published where, as the user would say it again: `publish`, `site NAME`. A confirmation holds for this alone. */
  readonly purpose: string
  /** The digest that the user has confirmed (`Confirmations.find`), or `null`. */
  readonly confirmed: string | null
}

/** An entry of a folder or archive that has no content of its own to publish. */
export interface OddEntry {
  readonly path: string
  readonly odd: 'symbolic link' | 'hard link' | 'device' | 'pipe' | 'socket' | 'unknown entry'
}

/**
 * `body` as the publisher takes it. `path`: its name, or '' if it has none. It has no upper length: its sender named this very file.
 * Throws `GuardObjection` at its end, unless `rules.confirmed` is the digest of exactly this.
 */
export async function* guarded(
  body: AsyncIterable<Uint8Array>,
  path: string,
  rules: GuardRules,
): AsyncGenerator<Uint8Array, void, undefined> {
  const guard = new StreamGuard(rules)
  yield* guard.file(path === '' ? '-' : path, body, judgePath(path))
  guard.finish()
}

/**
 * `files` as the publisher of a site takes them: in order, each opened (or left) before the next is asked for. Odd entries are objections;
 * with a confirmation they are left out. Throws `GuardObjection` as `guarded` does: from the content of a file, or from the list.
 */
export async function* guardedFiles(
  files: AsyncIterable<SiteFile | OddEntry>,
  rules: GuardRules,
): AsyncGenerator<SiteFile, void, undefined> {
  const guard = new StreamGuard(rules)
  const source = files[Symbol.asyncIterator]()
  /** Reads what is left, publishing nothing of it. */
  const drain = async () => {
    for (let step = await source.next(); step.done !== true; step = await source.next()) {
      if ('odd' in step.value) guard.odd(step.value)
      else await guard.look(step.value)
    }
    guard.finish()
  }
  let ended = false
  try {
    for (;;) {
      const step = await source.next()
      if (step.done === true) break
      if ('odd' in step.value) {
        guard.odd(step.value)
      } else {
        const file = step.value
        const known = judgeListed(file)
        let opened = false
        const open = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
          opened = true
          yield* guard.file(file.path, file.open(), known)
          if (guard.stopped) await drain()
        }
        guard.objectTo(known)
        if (guard.stopped) await guard.look(file)
        else yield { path: file.path, bytes: file.bytes, open }
        if (!opened && !guard.stopped) await guard.look(file)
      }
    }
    ended = true
    guard.finish()
  } finally {
    if (!ended) await source.return?.()
  }
}

function judgeListed({ path, bytes }: SiteFile): readonly Placed[] {
  return [...judgePath(path), ...judgeSize(path, bytes, FILE_BYTES_MAX)]
}

/** The objection to a file over `limit` bytes. */
export function judgeSize(path: string, bytes: number, limit: number): readonly Placed[] {
  if (bytes <= limit) return []
  return [{ rule: 'large', severity: 'refused', where: path, reason: `larger than ${Math.floor(limit / 1024 / 1024)} MiB` }]
}

/** The objection to something that is no plain file. */
export function judgeOdd({ path, odd }: OddEntry): Placed {
  return { rule: 'odd-entry', severity: 'refused', where: path, reason: `a ${odd}, which cannot be published` }
}

/** `findings` of a file's content, placed at the file. */
export function placedAt(path: string, findings: readonly Finding[]): readonly Placed[] {
  return findings.map((finding) => ({ ...finding, where: path }))
}

const NO_CONTENT = new Uint8Array(0)

/** The verdicts of one publication as it streams past. */
class StreamGuard {
  readonly #rules: GuardRules
  readonly #book: ListingBook
  readonly #scanner = new ContentScanner()
  /** There is an objection and no confirmation: nothing more goes out. */
  stopped = false

  constructor(rules: GuardRules) {
    this.#rules = rules
    this.#book = new ListingBook(rules.purpose)
  }

  /** The content of a file, on its way. */
  async *file(
    path: string,
    content: AsyncIterable<Uint8Array>,
    known: readonly Placed[],
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const hash = createHash('sha256')
    const scanner = this.#scanner
    scanner.reset()
    this.objectTo(known)
    let bytes = 0
    for await (const chunk of content) {
      hash.update(chunk)
      scanner.push(chunk)
      bytes += chunk.length
      if (scanner.objects) this.objectTo(scanner.findings)
      if (!this.stopped) yield chunk
    }
    const found = [...known, ...placedAt(path, scanner.end())]
    this.objectTo(found)
    this.#book.add(path, bytes, found, new Uint8Array(hash.digest()), () => false)
  }

  /** A file that is not published, only seen. */
  async look(file: SiteFile): Promise<void> {
    for await (const _ of this.file(file.path, file.open(), judgeListed(file)));
  }

  odd(entry: OddEntry): void {
    const finding = judgeOdd(entry)
    this.objectTo([finding])
    this.#book.add(entry.path, 0, [finding], NO_CONTENT, () => false)
  }

  /** All was seen. Errors: `GuardObjection`. */
  finish(): void {
    const { listing, digest } = this.#book.read()
    if (listing.objections > 0 && digest !== this.#rules.confirmed) throw new GuardObjection(listing, digest)
  }

  /** Stops the publication if `findings` hold an objection and nothing is confirmed. */
  objectTo(findings: readonly Finding[]): void {
    if (this.#rules.confirmed === null && findings.some(({ severity }) => severity !== 'note')) this.stopped = true
  }
}
