/** How the API answers: headers, JSON and problems on raw responses, and the end of bodies that nobody reads any more. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyReply } from 'fastify'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import { GuardObjection } from '../guard/index.ts'
import { ClientGone, type Failure, failureOf, HttpFailure, problemJson } from '../http/index.ts'
import type { TraceReport } from '../trace/index.ts'
import { ScopeMissing } from './access.ts'
import { BadField } from './validation.ts'

/** Sent with every answer. Content comes from strangers and shares this origin: it may run nothing, load nothing, and is not sniffed. */
export const API_HEADERS = {
  'Cache-Control': 'private, no-cache',
  'Content-Security-Policy': "sandbox; default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
} as const

// Implementation constants.
/** A client whose request was refused may go on sending its body for so long before its connection is cut. */
const REFUSED_BODY_MS = 5_000

/** Confirms what a guard objected to. */
export type Confirm = (objection: GuardObjection) => string

/** An error as the API tells it: the failure, and what its problem holds besides. */
export interface Told {
  readonly failure: Failure
  readonly more: Readonly<Record<string, unknown>>
}

/** How `error` is told. `report`: the trace of the work; `confirm` makes the confirmation for what the guard objected to. */
export function told(error: unknown, report?: TraceReport, confirm?: Confirm): Told {
  if (error instanceof GuardObjection && confirm !== undefined) {
    const asking = new OverlayError('config', 'API_CONFIRM', error.message, error)
    const more = { confirm: confirm(error), listing: error.listing }
    return { failure: failureOf(new HttpFailure(409, asking)), more }
  }
  const failure = failureOf(error, report)
  if (error instanceof BadField) return { failure, more: { field: error.field } }
  return { failure, more: error instanceof ScopeMissing ? { scope: error.scope } : {} }
}

/** Whether an error is a fault of ours, worth a line in the log. */
export function isBug(error: unknown): boolean {
  return !(error instanceof ClientGone || error instanceof HttpFailure) && (!isOverlayError(error) || error.kind === 'bug')
}

/** Answers a hijacked request with a problem, unless its answer has begun (then it is cut) or nobody is there. */
export function refuse(
  reply: FastifyReply,
  error: unknown,
  { failure, more }: Told,
  clock: Clock,
  headers: Readonly<Record<string, string>> = {},
): void {
  const response = reply.raw
  if (response.headersSent || response.destroyed || error instanceof ClientGone) {
    response.destroy()
    return
  }
  const body = problemJson(failure, more)
  const type = { 'Content-Type': 'application/problem+json', 'Content-Length': Buffer.byteLength(body) }
  response.writeHead(failure.status, { ...API_HEADERS, ...headers, ...failure.headers, ...type })
  response.end(reply.request.method === 'HEAD' ? undefined : body)
  cutLateBody(reply.request.raw, clock)
}

/** Lets a client whose body is still coming read its answer, then cuts the connection. */
export function cutLateBody(incoming: IncomingMessage, clock: Clock): void {
  if (incoming.complete) return
  incoming.resume()
  const { socket } = incoming
  const done = () => {
    timer.cancel()
    socket.off('close', done)
  }
  const timer = clock.setTimer(REFUSED_BODY_MS, () => socket.destroy())
  incoming.once('end', done)
  socket.once('close', done)
}

/** Answers a hijacked request with JSON. */
export function sendJson(
  response: ServerResponse,
  status: number,
  value: object,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = `${JSON.stringify(value)}\n`
  const type = { 'Content-Type': 'application/json; charset=utf-8', 'Content-Length': Buffer.byteLength(body) }
  response.writeHead(status, { ...API_HEADERS, ...headers, ...type })
  response.end(body)
}

export function badRequest(message: string): OverlayError {
  return new OverlayError('protocol', 'API_BAD_REQUEST', message)
}

/** 404: `what` is not there. */
export function noSuch(what: string): HttpFailure {
  return new HttpFailure(404, new OverlayError('not-found', 'API_NOT_FOUND', what))
}
