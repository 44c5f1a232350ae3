/** All routes of API version 1. Each group is a file; what a route takes, answers and needs stands beside it and is checked before it runs. */
import type { FastifyInstance } from 'fastify'
import type { Confirmations } from '../guard/index.ts'
import type { FaceParts } from '../http/index.ts'
import { badRequest } from './answers.ts'
import type { Events } from './events.ts'
import type { Metrics } from './metrics.ts'
import { addContentRoutes } from './routes-content.ts'
import { addKeepRoutes } from './routes-keeps.ts'
import { addNameRoutes } from './routes-names.ts'
import { addNodeRoutes } from './routes-node.ts'
import { addServiceRoutes } from './routes-services.ts'
import { addSiteRoutes } from './routes-sites.ts'
import { addTokenRoutes } from './routes-tokens.ts'
import type { ApiTokens } from './tokens.ts'
import type { Transfers } from './transfers.ts'

/** What the routes are made of. */
export interface RouteParts extends FaceParts {
  readonly closing: AbortSignal
  readonly transfers: Transfers
  readonly events: Events
  readonly tokens: ApiTokens
  readonly confirmations: Confirmations
  readonly metrics: Metrics
  /** Whether `/metrics` is told without a token. */
  readonly openMetrics: boolean
  /** The proxy auto-configuration file; `null` before the proxy listens. */
  readonly pac: () => string | null
  /** The OpenAPI document, as text. */
  readonly document: () => Promise<string>
}

/** Longest body of JSON. */
export const JSON_BODY_BYTES_MAX = 16 * 1024

/** Adds the routes to `app`. */
export function addRoutes(app: FastifyInstance, parts: RouteParts): void {
  app.removeAllContentTypeParsers()
  // Raw bodies are read by their routes, as fast as the node takes them.
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  addNodeRoutes(app, parts)
  addContentRoutes(app, parts)
  addSiteRoutes(app, parts)
  addKeepRoutes(app, parts)
  app.register(async (inner) => {
    inner.removeAllContentTypeParsers()
    // These routes take JSON and nothing else, so that is what a body is read as, whatever its type says (`curl -d` calls it a form).
    inner.addContentTypeParser('*', { parseAs: 'string', bodyLimit: JSON_BODY_BYTES_MAX }, (_request, body, done) => {
      try {
        done(null, body === '' ? undefined : JSON.parse(String(body)))
      } catch {
        done(badRequest('The body is not JSON.'))
      }
    })
    addServiceRoutes(inner, parts)
    addNameRoutes(inner, parts)
    addTokenRoutes(inner, parts)
  })
}
