/**
 * How commands speak: results on standard output, everything else on standard error; failures as what happened and what to do, never
 * a stack; one exit code per kind of failure. Scripts rely on the codes: README, "Exit codes".
 */
import { type ErrorKind, isOverlayError, remedyOf } from '../../src/errors/index.ts'
import { GuardObjection, type ListedFile, type Listing, shown } from '../guard/listing.ts'

export const EXIT = {
  done: 0,
  /** A fault of the program, or of this machine's disk. */
  fault: 1,
  usage: 2,
  notFound: 3,
  network: 4,
  integrity: 5,
} as const

/** A command line that makes no sense: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly remedy: string
  constructor(message: string, remedy = 'Run with --help to see what there is.') {
    super(message)
    this.remedy = remedy
  }
}

/** A command that was interrupted: exit code 128 + the signal's number. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
  readonly signalNumber: number
  constructor(signal: 'SIGINT' | 'SIGTERM') {
    super(`Interrupted by ${signal}.`)
    this.signalNumber = signal === 'SIGINT' ? 2 : 15
  }
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.usage
  if (error instanceof Interrupted) return 128 + error.signalNumber
  if (!isOverlayError(error)) return EXIT.fault
  return exitCodeOfKind(error.kind)
}

function exitCodeOfKind(kind: ErrorKind): number {
  switch (kind) {
    case 'not-found':
      return EXIT.notFound
    case 'integrity':
      return EXIT.integrity
    case 'config':
    case 'protocol':
      return EXIT.usage
    case 'timeout':
    case 'overload':
    case 'unreachable':
      return EXIT.network
    case 'bug':
      return EXIT.fault
  }
}

/** Prints a failure to standard error, for people or (with `json`) for programs. */
export function printFailure(error: unknown, json: boolean): void {
  const exitCode = exitCodeOf(error)
  const { message, code, remedy } = described(error)
  const listing = error instanceof GuardObjection ? error.listing : undefined
  if (json) return void process.stderr.write(`${JSON.stringify({ error: { code, message, remedy, exitCode, listing } })}\n`)
  const list = listing === undefined ? '' : listingTable(listing.files.filter(isObjection), listing)
  process.stderr.write(`${list}gyre: ${message}\n${remedy === '' ? '' : `      ${remedy}\n`}`)
}

/** Files of a list for people that are shown; the rest is counted. */
const LISTED_MAX = 200

/** Whether the file stops the publication. */
export function isObjection({ verdict, allowed }: ListedFile): boolean {
  return verdict !== 'ok' && !allowed
}

/** What would go out, one line for each of `files`, and the total of `listing`. */
export function listingTable(files: readonly ListedFile[], { total }: Listing): string {
  const lines = files
    .slice(0, LISTED_MAX)
    .map((file) => [
      file.allowed ? 'allowed' : file.verdict,
      formatBytes(file.bytes),
      shown(file.path),
      file.findings.map(({ reason }) => reason).join('; '),
    ])
  const more = files.length > LISTED_MAX ? `… and ${files.length - LISTED_MAX} more\n` : ''
  return `${table(lines)}${more}total: ${countOf(total.files, 'file')}, ${formatBytes(total.bytes)}\n`
}

function described(error: unknown): { readonly message: string; readonly code: string; readonly remedy: string } {
  if (isOverlayError(error)) return { message: error.message, code: error.code, remedy: remedyOf(error.code) }
  if (error instanceof UsageError) return { message: error.message, code: 'USAGE', remedy: error.remedy }
  if (error instanceof Interrupted) return { message: error.message, code: 'INTERRUPTED', remedy: '' }
  const fault = error instanceof Error ? `${error.name}: ${error.message.split('\n')[0]}` : 'unknown'
  return { message: `A fault of the program itself (${fault}).`, code: 'INTERNAL', remedy: remedyOf('INTERNAL') }
}

/** Writes `text` to standard output and waits for it; a reader that went away ends the command quietly. */
export async function print(text: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  process.stdout.write(text, () => resolve())
  await promise
}

/** `1 file`, `2 files`. */
export function countOf(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}

/** `1.5 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  let value = bytes
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`
}

/** `1 h 5 min`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${Math.floor(seconds)} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
}

/** `2026-01-31 12:00 UTC`. */
export function formatDate(unixMs: number): string {
  return `${new Date(unixMs).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

/** A table of texts: columns as wide as their widest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows)
    row.forEach((cell, at) => {
      widths[at] = Math.max(widths[at] ?? 0, cell.length)
    })
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, at) => cell.padEnd(widths[at] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}

/** One line on a terminal that is written over; nothing when standard error is none. */
export class Progress {
  readonly #shown = process.stderr.isTTY === true
  #width = 0
  show(text: string): void {
    if (!this.#shown) return
    process.stderr.write(`\r${text.padEnd(this.#width)}`)
    this.#width = text.length
  }
  clear(): void {
    if (this.#shown && this.#width > 0) process.stderr.write(`\r${' '.repeat(this.#width)}\r`)
    this.#width = 0
  }
}
