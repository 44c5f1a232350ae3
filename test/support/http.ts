/** Plain HTTP for tests of the faces: one request as bytes on a socket, and one through node:http, each with its whole answer. */
import { request as httpRequest, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import type { HostPort } from '../../src/config/index.ts'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** Whether the announced body came whole. */
  readonly whole: boolean
}

export interface Ask {
  readonly method?: string
  readonly path: string
  readonly headers?: OutgoingHttpHeaders
  readonly body?: Uint8Array | string
  /** Leaves the Host header to the caller. */
  readonly bareHost?: boolean
}

/** Sends `ask` to `at` over a connection of its own. */
export function ask(at: HostPort, { method = 'GET', path, headers = {}, body, bareHost = false }: Ask): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const request = httpRequest(
    { host: at.host, port: at.port, method, path, headers, agent: false, setHost: !bareHost },
    (response) => {
      const chunks: Buffer[] = []
      const done = (whole: boolean) =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks), whole })
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => done(response.complete))
      response.on('error', () => done(false))
    },
  )
  request.on('error', reject)
  request.end(body)
  return promise
}

/** Sends `bytes` as they are and reads until the other side closes (or `ms` are over). */
export function askRaw(at: HostPort, bytes: string | Uint8Array, ms = 3_000): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const chunks: Buffer[] = []
  const done = () => {
    socket.destroy()
    resolve(Buffer.concat(chunks).toString('latin1'))
  }
  const socket = connect(at.port, at.host, () => socket.write(bytes))
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.on('close', done)
  socket.on('error', done)
  socket.setTimeout(ms, done)
  return promise
}

/** Problem document of an answer. */
export function problem(answer: Answer): {
  readonly code: string
  readonly status: number
  readonly detail: string
  readonly remedy: string
} {
  return JSON.parse(answer.body.toString('utf8'))
}
