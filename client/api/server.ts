/**
 * The API's server: fastify on loopback, guarded by Host, Origin and token before any route is looked at. It logs no request.
 * Outside contract: README, "API". Errors are problems (RFC 9457) everywhere, malformed requests included.
 */
import { type FastifyReply, fastify } from 'fastify'
import type { HostPort } from '../../src/config/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import {
  answerRaw,
  closeServer,
  type FaceParts,
  failureOf,
  HttpFailure,
  limit,
  listenAt,
  problemJson,
  SERVER_OPTIONS,
  statusOfParseError,
} from '../http/index.ts'
import { type Guard, guardFor, tokenCheck } from './guard.ts'
import { API_HEADERS, addRoutes, cutLateBody } from './routes.ts'

/** A running face. */
export interface FaceServer {
  /** Where it listens, with the port that it became. */
  readonly at: HostPort
  /** Idempotent; graceful for `CLOSE_GRACE_MS`, then final. */
  close(): Promise<void>
}

export interface ApiOptions extends FaceParts {
  readonly at: HostPort
  /** What a Bearer header must carry. */
  readonly token: string
}

/** Starts the API. Errors: `PORT_TAKEN`, `CONFIG_BAD`. */
export async function startApi({ face, clock, log, at, token }: ApiOptions): Promise<FaceServer> {
  const closing = new AbortController()
  const rightToken = tokenCheck(token)
  let guard: Guard = () => {
    throw new OverlayError('overload', 'NODE_NOT_READY', 'The API is not listening yet.')
  }

  const app = fastify({
    logger: false,
    // Bodies are streamed and may take long: `bodyOf` watches them instead.
    requestTimeout: 0,
    keepAliveTimeout: SERVER_OPTIONS.keepAliveTimeout,
    http: { ...SERVER_OPTIONS, requestTimeout: 0 },
    bodyLimit: Number.MAX_SAFE_INTEGER,
    exposeHeadRoutes: true,
    return503OnClosing: true,
    forceCloseConnections: true,
    routerOptions: { caseSensitive: true, ignoreTrailingSlash: false, maxParamLength: 128 },
    clientErrorHandler: (error, socket) => {
      const failure = failureOf(
        new HttpFailure(statusOfParseError(error), badRequest('The request is not valid HTTP, or too large.')),
      )
      answerRaw(socket, failure.status, 'application/problem+json', problemJson(failure))
    },
    frameworkErrors: (error, _request, reply: FastifyReply) => {
      const failure = failureOf(foreign(error))
      reply.code(failure.status).headers(API_HEADERS).type('application/problem+json').send(problemJson(failure))
    },
  })
  limit(app.server)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))

  app.addHook('onRequest', async (request, reply) => {
    reply.headers(API_HEADERS)
    guard(request.raw.headers)
    if (request.routeOptions.url === '/v1/health') return
    if (!rightToken(request.headers.authorization)) {
      const error = new OverlayError('protocol', 'API_UNAUTHORISED', 'The request carries no valid token.')
      throw new HttpFailure(401, error, { 'WWW-Authenticate': 'Bearer realm="gyre"' })
    }
  })
  app.setNotFoundHandler(() => {
    throw new HttpFailure(
      404,
      new OverlayError('protocol', 'API_NO_ROUTE', 'There is nothing at this path, or not with this method.'),
    )
  })
  app.setErrorHandler((error, _request, reply) => {
    const failure = failureOf(foreign(error))
    if (failure.kind === 'bug') log.error('a request failed because of a fault', { error })
    cutLateBody(reply, clock)
    return reply.code(failure.status).headers(failure.headers).type('application/problem+json').send(problemJson(failure))
  })
  addRoutes(app, { face, clock, log, closing: closing.signal })

  await app.ready()
  const bound = await listenAt(app.server, at, 'api')
  guard = guardFor(bound)
  const abort = () => closing.abort(new OverlayError('unreachable', 'NODE_UNREACHABLE', 'The node is stopping.'))
  let closed: Promise<void> | null = null
  const close = async () => {
    await closeServer(app.server, clock, abort)
    await app.close()
  }
  return {
    at: bound,
    close: () => {
      closed ??= close()
      return closed
    },
  }
}

/** An error of fastify's own as one of ours, with its status if that blames the client. */
function foreign(error: unknown): unknown {
  const status = error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500
  return status >= 400 && status < 500 ? new HttpFailure(status, badRequest('The request is malformed.')) : error
}

function badRequest(message: string): OverlayError {
  return new OverlayError('protocol', 'API_BAD_REQUEST', message)
}
