/**
 * The API's server: fastify on loopback or at a socket file, guarded by Host, Origin and token before any route is looked at. It logs no
 * request. Outside contract: README, "API", and `/v1/openapi.json`. Errors are problems (RFC 9457) everywhere, malformed requests included.
 *
 *   Host and Origin (guard.ts) → token, rate, scope (access.ts) → schema (validation.ts) → route (routes-*.ts)
 */
import { type FastifyReply, fastify } from 'fastify'
import type { ApiAt, HostPort } from '../../src/config/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { type Rng, systemRng } from '../../src/runtime/index.ts'
import { Confirmations } from '../guard/index.ts'
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
import { listenAtPath } from '../http/unix-socket.ts'
import { Access, RATES, type Rates } from './access.ts'
import { API_HEADERS, badRequest, cutLateBody, isBug, told } from './answers.ts'
import { Events } from './events.ts'
import { type Guard, guardFor } from './guard.ts'
import { Metrics } from './metrics.ts'
import { openApiOf } from './openapi.ts'
import { addRoutes, type RouteParts } from './routes.ts'
import { ApiTokens } from './tokens.ts'
import { Transfers } from './transfers.ts'
import { SCHEMA_OPTIONS } from './validation.ts'

/** A running face. */
export interface FaceServer<At = HostPort> {
  /** Where it listens, with the port that it became. */
  readonly at: At
  /** Idempotent; graceful for `CLOSE_GRACE_MS`, then final. */
  close(): Promise<void>
}

export interface ApiOptions<At extends ApiAt = ApiAt> extends FaceParts {
  readonly at: At
  /** What a Bearer header must carry to do everything. */
  readonly token: string
  /** For tokens and confirmations. Default: the system's. */
  readonly rng?: Rng
  /** Where further tokens are kept. Default: in memory only. */
  readonly dataDir?: string
  /** Whether `/metrics` is told without a token; then without what the user's own actions change. Default `false`. */
  readonly openMetrics?: boolean
  /** The proxy auto-configuration file; `null` before the proxy listens. */
  readonly pac?: () => string | null
  /** Default: `RATES`. */
  readonly rates?: Rates
}

/** Starts the API. Errors: `PORT_TAKEN`, `CONFIG_BAD`, `API_TOKEN_BAD`. */
export async function startApi<At extends ApiAt>(options: ApiOptions<At>): Promise<FaceServer<At>> {
  const { face, clock, log, at, token, rng = systemRng, dataDir = null, rates = RATES } = options
  const closing = new AbortController()
  const tokens = await ApiTokens.open({ own: token, dataDir, clock, rng })
  const access = new Access({ tokens, clock, rates })
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
    ...SCHEMA_OPTIONS,
    routerOptions: { caseSensitive: true, ignoreTrailingSlash: false, maxParamLength: 4096 },
    clientErrorHandler: (error, socket) => {
      const failure = failureOf(
        new HttpFailure(statusOfParseError(error), badRequest('The request is not valid HTTP, or too large.')),
      )
      answerRaw(socket, failure.status, 'application/problem+json', problemJson(failure))
    },
    frameworkErrors: (error, _request, reply: FastifyReply) => {
      const failure = failureOf(foreign(error))
      reply
        .code(failure.status)
        .headers(API_HEADERS)
        .type('application/problem+json')
        .send(Buffer.from(problemJson(failure)))
    },
  })
  limit(app.server)

  app.addHook('onRequest', async (request, reply) => {
    reply.headers(API_HEADERS)
    guard(request.raw.headers, request.raw.url ?? '')
    access.check(request.headers.authorization, request.is404 ? 'read' : (request.routeOptions.config.need ?? 'admin'))
  })
  app.setNotFoundHandler(() => {
    throw new HttpFailure(
      404,
      new OverlayError('protocol', 'API_NO_ROUTE', 'There is nothing at this path, or not with this method.'),
    )
  })
  // Problems are sent as bytes: to a text fastify would add a charset, which their media type does not have.
  app.setErrorHandler((error, request, reply) => {
    const ours = foreign(error)
    if (isBug(ours)) log.error('a request failed because of a fault', { error })
    const { failure, more } = told(ours)
    cutLateBody(request.raw, clock)
    return reply
      .code(failure.status)
      .headers(failure.headers)
      .type('application/problem+json')
      .send(Buffer.from(problemJson(failure, more)))
  })

  const metrics = new Metrics({ face, memory: () => process.memoryUsage.rss() })
  const events = new Events(face, clock)
  let document: Promise<string> | null = null
  const parts: RouteParts = {
    ...{ face, clock, log, tokens, metrics, events, closing: closing.signal },
    transfers: new Transfers(clock),
    confirmations: new Confirmations({ clock, rng }),
    openMetrics: options.openMetrics ?? false,
    pac: options.pac ?? (() => null),
    document: () => {
      document ??= openApiOf((other) => addRoutes(other, parts))
      return document
    },
  }
  addRoutes(app, parts)

  await app.ready()
  const bound = await listen(at)
  guard = guardFor(bound)
  const abort = () => closing.abort(new OverlayError('unreachable', 'NODE_UNREACHABLE', 'The node is stopping.'))
  let closed: Promise<void> | null = null
  const close = async () => {
    metrics.close()
    events.close()
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

  async function listen<Where extends ApiAt>(where: Where): Promise<Where> {
    if ('path' in where) {
      await listenAtPath(app.server, where.path, 'api', clock)
      return where
    }
    // The same kind of place, with the port that it became.
    return (await listenAt(app.server, where, 'api')) as Where
  }
}

/** An error of fastify's own as one of ours, with its status if that blames the client. */
function foreign(error: unknown): unknown {
  if (error instanceof HttpFailure || error instanceof OverlayError) return error
  const status = error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500
  return status >= 400 && status < 500 ? new HttpFailure(status, badRequest('The request is malformed.')) : error
}
