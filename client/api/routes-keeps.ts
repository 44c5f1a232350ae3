/**
 * What this node keeps, and receipts. Keeping costs this node work for as long as it runs, and the list tells what its user cares for: only an
 * admin token changes it. A receipt reads, as a fetch does.
 */
import type { FastifyInstance } from 'fastify'
import { OverlayError } from '../../src/errors/index.ts'
import { HttpFailure, signalOf } from '../http/index.ts'
import { described, json, nothing } from './openapi.ts'
import type { RouteParts } from './routes.ts'
import { ADDRESS, KEEP, KEEPS, object, RECEIPT } from './schemas.ts'

const ADDRESSED = object({ address: ADDRESS })

export function addKeepRoutes(app: FastifyInstance, { face, closing }: RouteParts): void {
  app.get(
    '/v1/keeps',
    described('read', {
      operationId: 'keeps',
      summary: 'What this node keeps, and how it is',
      answers: { 200: json('Publications and sites.', KEEPS) },
    }),
    () => ({ keeps: face.keeps.list() }),
  )
  app.get<{ Params: { address: string } }>(
    '/v1/keeps/:address',
    described('read', {
      operationId: 'keepStatus',
      summary: 'One of the things that this node keeps',
      params: ADDRESSED,
      answers: { 200: json('How it is.', KEEP) },
    }),
    ({ params: { address } }) => face.keeps.get(address) ?? unknown(),
  )
  app.put<{ Params: { address: string } }>(
    '/v1/keeps/:address',
    described('admin', {
      operationId: 'keep',
      summary: 'Keep what is at an address, and check it now',
      description: 'Answers at once; `GET` tells when the check is over. Of a key, the site that it has at the time is kept.',
      params: ADDRESSED,
      answers: { 200: json('How it is.', KEEP) },
    }),
    ({ params: { address } }) => face.keeps.keep(address),
  )
  app.delete<{ Params: { address: string } }>(
    '/v1/keeps/:address',
    described('admin', {
      operationId: 'unkeep',
      summary: 'Keep it no longer; what is stored stays until it expires',
      params: ADDRESSED,
      answers: { 204: nothing('It is not kept any more.') },
    }),
    async ({ params: { address } }, reply) => {
      if (!(await face.keeps.unkeep(address))) unknown()
      return reply.code(204).send()
    },
  )
  app.get<{ Params: { address: string } }>(
    '/v1/receipts/:address',
    described('read', {
      operationId: 'receipt',
      summary: 'Ask the holders now how well something is stored',
      description: 'Takes seconds; of large content a part is drawn at random.',
      params: ADDRESSED,
      answers: { 200: json('The receipt.', RECEIPT) },
    }),
    ({ params: { address }, raw }, reply) => face.receipt(address, { signal: signalOf(raw, reply.raw, closing) }),
  )
}

function unknown(): never {
  throw new HttpFailure(404, new OverlayError('not-found', 'KEEP_UNKNOWN', 'This node does not keep what is at this address.'))
}
