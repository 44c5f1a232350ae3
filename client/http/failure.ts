/**
 * What an error becomes on HTTP: status, code, a sentence and a remedy, the same for API and proxy. An error that is not ours says
 * nothing of itself: its message could hold a path, a peer's bytes or a stack. Spec: RFC 9110 §15, RFC 9457.
 */
import { STATUS_CODES } from 'node:http'
import { type ErrorCode, type ErrorKind, isOverlayError, OverlayError, remedyOf } from '../../src/errors/index.ts'
import type { StageReport, TraceReport } from '../trace/index.ts'

/** An error with a status or headers of its own, where the kind alone does not say it. */
export class HttpFailure extends Error {
  override readonly name = 'HttpFailure'
  readonly status: number
  readonly error: OverlayError
  readonly headers: Readonly<Record<string, string>>
  constructor(status: number, error: OverlayError, headers: Readonly<Record<string, string>> = {}) {
    super(error.message, { cause: error })
    this.status = status
    this.error = error
    this.headers = headers
  }
}

/** The client closed its connection; there is nobody to answer. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone'
}

/** Everything that a face needs to answer with an error. */
export interface Failure {
  readonly status: number
  /** The status in words. */
  readonly title: string
  readonly kind: ErrorKind
  readonly code: ErrorCode
  /** What happened. */
  readonly detail: string
  /** What a person can do. */
  readonly remedy: string
  /** The last stages of the work that failed, oldest first; empty if it was not traced. */
  readonly stages: readonly StageReport[]
  readonly headers: Readonly<Record<string, string>>
}

const STATUS_OF_KIND: Readonly<Record<ErrorKind, number>> = {
  'not-found': 404,
  timeout: 504,
  unreachable: 503,
  overload: 503,
  integrity: 502,
  config: 400,
  protocol: 400,
  bug: 500,
}

/** Where the kind does not say it: the request is right, the machine has no room for it. */
const STATUS_OF_CODE: Partial<Readonly<Record<ErrorCode, number>>> = { DATA_DIR_UNUSABLE: 507 }

/** How `error` is told to the client; with `report`, also at which stage of the work it happened. */
export function failureOf(error: unknown, report?: TraceReport): Failure {
  const cause = error instanceof HttpFailure ? error.error : isOverlayError(error) ? error : fault(error)
  const status = error instanceof HttpFailure ? error.status : (STATUS_OF_CODE[cause.code] ?? STATUS_OF_KIND[cause.kind])
  const retry: Record<string, string> = status === 503 ? { 'Retry-After': '5' } : {}
  return {
    status,
    title: STATUS_CODES[status] ?? 'Error',
    kind: cause.kind,
    code: cause.code,
    detail: cause.message,
    remedy: remedyOf(cause.code),
    stages: report?.failures ?? [],
    headers: error instanceof HttpFailure ? { ...retry, ...error.headers } : retry,
  }
}

function fault(error: unknown): OverlayError {
  return new OverlayError('bug', 'INTERNAL', 'The node could not finish the request because of a fault of its own.', error)
}

/** RFC 9457 body of `failure`, with `more` members of its own. */
export function problemJson(failure: Failure, more: Readonly<Record<string, unknown>> = {}): string {
  const { status, title, detail, code, kind, remedy, stages } = failure
  const told = stages.length === 0 ? {} : { stages }
  return `${JSON.stringify({ type: `urn:gyre:error:${code}`, title, status, detail, code, kind, remedy, ...told, ...more })}\n`
}
