/** Routes about the node itself: state, work, events, metrics, and the documents that it serves. */
import type { FastifyInstance } from 'fastify'
import { OverlayError } from '../../src/errors/index.ts'
import { PAC_TYPE } from '../proxy/pac.ts'
import { API_HEADERS, noSuch } from './answers.ts'
import { described, json, text } from './openapi.ts'
import type { RouteParts } from './routes.ts'
import { HEALTH, LOOPS, object, PEERS, type Schema, STATUS, TRACE, TRANSFER } from './schemas.ts'

const TRANSFER_ID = object({ id: { type: 'string', maxLength: 128, description: 'The Gyre-Transfer header of a fetch.' } })
const TRACE_ID = object({ id: { type: 'string', maxLength: 128, description: 'The Gyre-Trace header of a fetch.' } })
const DOCUMENT: Schema = { type: 'object', description: 'OpenAPI 3.1.' }

const EVENTS_WORDS = `Server-sent events: status, publish, site, service, name, transfer. The first is the status. Nothing is kept for later:
events carry no ids and Last-Event-ID is not answered. A listener that reads too slowly is cut.`

export function addNodeRoutes(app: FastifyInstance, parts: RouteParts): void {
  const { face, transfers } = parts
  app.get(
    '/v1/health',
    described('open', {
      operationId: 'health',
      summary: 'Whether the node has neighbours and a loop',
      answers: { 200: json('It is ready; 503 if not.', HEALTH) },
    }),
    () => {
      if (!face.ready()) throw new OverlayError('unreachable', 'NODE_NOT_READY', 'The node has no neighbours or no loop yet.')
      return { ready: true }
    },
  )
  app.get(
    '/v1/status',
    described('read', {
      operationId: 'status',
      summary: 'What the node says of itself',
      answers: { 200: json('The status.', STATUS) },
    }),
    () => face.status(),
  )
  app.get(
    '/v1/peers',
    described('read', { operationId: 'peers', summary: "This node's neighbours", answers: { 200: json('Neighbours.', PEERS) } }),
    () => ({ peers: face.peers() }),
  )
  app.get(
    '/v1/loops',
    described('read', { operationId: 'loops', summary: "This node's own loops", answers: { 200: json('Loops.', LOOPS) } }),
    () => ({ loops: face.loops() }),
  )
  app.get<{ Params: { id: string } }>(
    '/v1/transfers/:id',
    described('read', {
      operationId: 'transfer',
      summary: 'What a fetch cost',
      params: TRANSFER_ID,
      answers: { 200: json('The transfer.', TRANSFER) },
    }),
    ({ params: { id } }) => {
      const report = /^\d{1,15}$/.test(id) ? transfers.report(Number(id)) : undefined
      if (report === undefined) throw noSuch('There is no such transfer (any more).')
      return report
    },
  )
  app.get<{ Params: { id: string } }>(
    '/v1/traces/:id',
    described('read', {
      operationId: 'trace',
      summary: 'Where the time of a fetch went, stage by stage',
      params: TRACE_ID,
      answers: { 200: json('The trace.', TRACE) },
    }),
    ({ params: { id } }) => {
      const report = face.traceReport(id)
      if (report === undefined) throw noSuch('There is no such trace (any more).')
      return report
    },
  )
  addEvents(app, parts)
  addDocuments(app, parts)
}

function addEvents(app: FastifyInstance, { events }: RouteParts): void {
  app.get(
    '/v1/events',
    {
      ...described('read', {
        operationId: 'events',
        summary: 'What happens on this node',
        description: EVENTS_WORDS,
        answers: { 200: text('A stream of events.', 'text/event-stream') },
      }),
      exposeHeadRoute: false,
    },
    (_request, reply) => {
      events.listen(reply.raw, API_HEADERS)
      reply.hijack()
    },
  )
}

function addDocuments(app: FastifyInstance, { metrics, openMetrics, pac, document }: RouteParts): void {
  app.get(
    '/v1/openapi.json',
    described('read', { operationId: 'openapi', summary: 'This document', answers: { 200: json('The document.', DOCUMENT) } }),
    async (_request, reply) => reply.type('application/json; charset=utf-8').send(await document()),
  )
  app.get(
    '/proxy.pac',
    described('open', {
      operationId: 'pac',
      summary: 'Proxy auto-configuration: .gyre through this node, everything else as before',
      answers: { 200: text('The file.', PAC_TYPE) },
    }),
    (_request, reply) => {
      const file = pac()
      if (file === null) throw new OverlayError('unreachable', 'NODE_NOT_READY', 'The proxy does not listen yet.')
      return reply.type(PAC_TYPE).send(file)
    },
  )
  app.get(
    '/metrics',
    described(openMetrics ? 'open' : 'read', {
      operationId: 'metrics',
      summary: 'Coarse figures for Prometheus',
      answers: { 200: text('Prometheus text format.', 'text/plain') },
    }),
    async (_request, reply) => {
      const { body, contentType } = await metrics.text(!openMetrics)
      return reply.type(contentType).send(body)
    },
  )
}
