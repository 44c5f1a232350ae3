/**
 * The log: pino to standard error, one child per component. What may be logged is a closed list of fields with harmless types, kept
 * by the compiler (`LogFields`) and again at run time (`harmless`): a field that is not on the list never reaches the output, whatever
 * was passed. So no key, payload, address, identity or path can be logged by a slip, at any level; there is no switch to log more.
 * Errors are logged as kind and code, never as message or stack: messages may carry what a person asked for.
 * Rules of use: STYLE.md, "Config, logs, metrics".
 */
import { destination, pino } from 'pino'
import type { LogLevel } from '../config/schema.ts'
import { isOverlayError } from '../errors/index.ts'

/** Everything that a log line may say besides its text. Add a name here only if its values are safe to publish. */
export interface LogFields {
  /** An error: only its kind and code are written. */
  readonly error?: unknown
  /** How many of what the text names. */
  readonly count?: number
  readonly bytes?: number
  readonly ms?: number
  readonly port?: number
  readonly ready?: boolean
  /** A word of this program's own vocabulary (a close reason, a state, a transport): at most 40 lower-case letters, digits, dashes. */
  readonly reason?: string
  readonly version?: string
  /** Name of the cell cipher's implementation. */
  readonly cipher?: string
  readonly signal?: string
}

/** What components log through. `text` is constant: what varies goes into fields. */
export interface Logger {
  /** Frequent, for developers; never per cell. */
  debug(text: string, fields?: LogFields): void
  /** Rare, safe to publish, never set off by a single user action. */
  info(text: string, fields?: LogFields): void
  /** Asks for an action. */
  warn(text: string, fields?: LogFields): void
  /** Something that this node cannot do any more. */
  error(text: string, fields?: LogFields): void
  /** The log of a component. */
  child(component: string): Logger
}

/** Where lines go; tests pass a recorder. */
export interface LogSink {
  write(line: string): void
}

/** The root log. Lines are JSON, one each, on standard error (or to `sink`). */
export function createLog(level: LogLevel, sink?: LogSink): Logger {
  const root = pino(
    { level, base: null, formatters: { level: (label) => ({ level: label }) }, timestamp: pino.stdTimeFunctions.isoTime },
    sink ?? standardError(),
  )
  return wrap(root)
}

/** Synchronous, so that the last line of a dying process is there; a reader that went away costs the lines, not the node. */
function standardError(): LogSink {
  const stream = destination({ fd: 2, sync: true })
  stream.on('error', () => {})
  return stream
}

/** A log that writes nothing. */
export const silentLog: Logger = Object.freeze({
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLog,
})

type Target = Pick<ReturnType<typeof pino>, 'debug' | 'info' | 'warn' | 'error' | 'child'>

function wrap(target: Target): Logger {
  return Object.freeze({
    debug: (text: string, fields?: LogFields) => target.debug(harmless(fields), spoken(text)),
    info: (text: string, fields?: LogFields) => target.info(harmless(fields), spoken(text)),
    warn: (text: string, fields?: LogFields) => target.warn(harmless(fields), spoken(text)),
    error: (text: string, fields?: LogFields) => target.error(harmless(fields), spoken(text)),
    child: (component: string) => wrap(target.child({ component: word(component) })),
  })
}

/** Only listed fields of listed types; everything else is left out. */
function harmless(fields: LogFields | undefined): Record<string, unknown> {
  const kept: Record<string, unknown> = {}
  if (typeof fields !== 'object' || fields === null) return kept
  for (const name of ['count', 'bytes', 'ms', 'port'] as const) {
    const value = fields[name]
    if (typeof value === 'number') kept[name] = value
  }
  if (typeof fields.ready === 'boolean') kept.ready = fields.ready
  for (const name of ['reason', 'version', 'cipher', 'signal'] as const) {
    const value = fields[name]
    if (value !== undefined) kept[name] = word(value)
  }
  if (fields.error !== undefined) Object.assign(kept, named(fields.error))
  return kept
}

/** Kind and code of an error, or the class of a foreign one with the system's code (`ECONNRESET`). */
function named(error: unknown): Record<string, string> {
  if (isOverlayError(error)) return { kind: error.kind, code: error.code }
  if (!(error instanceof Error)) return { kind: 'bug' }
  const code = (error as NodeJS.ErrnoException).code
  return { kind: 'bug', fault: word(error.name), ...(typeof code === 'string' ? { code: word(code) } : {}) }
}

/** A line's text. Callers without types may pass an object, which could hold anything. */
function spoken(text: unknown): string {
  return typeof text === 'string' ? text : '(withheld)'
}

/** `text` if it is a short word of ours; anything else could be somebody's data. */
function word(text: string): string {
  return typeof text === 'string' && /^[A-Za-z][A-Za-z0-9_.-]{0,39}$|^\d{1,4}(\.\d{1,6}){0,3}$/.test(text) ? text : '(withheld)'
}
