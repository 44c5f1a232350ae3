/**
 * The one error type of the code base. `kind` tells the caller what to do, `code` tells the operator what happened.
 * Codes are public API and listed, with cause and remedy, in `codes.ts`.
 */
import type { ErrorCode } from './codes.ts'

export { ERROR_CODES, type ErrorCode, remedyOf } from './codes.ts'

/** What a caller can do about an error. `integrity`: bytes that failed verification; `not-found`: nobody had them. */
export type ErrorKind = 'protocol' | 'timeout' | 'overload' | 'unreachable' | 'not-found' | 'integrity' | 'config' | 'bug'

export class OverlayError extends Error {
  override readonly name: string = 'OverlayError'
  readonly kind: ErrorKind
  readonly code: ErrorCode
  constructor(kind: ErrorKind, code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause })
    this.kind = kind
    this.code = code
  }
}

/** True for an `OverlayError`, and, with `code`, for one that carries that code. */
export function isOverlayError(error: unknown, code?: ErrorCode): error is OverlayError {
  return error instanceof OverlayError && (code === undefined || error.code === code)
}
