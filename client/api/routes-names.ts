/** The book of names. A name decides what a link leads to, so only an admin token may change one. */
import type { FastifyInstance } from 'fastify'
import { OverlayError } from '../../src/errors/index.ts'
import { HttpFailure } from '../http/index.ts'
import { described, json, nothing } from './openapi.ts'
import type { RouteParts } from './routes.ts'
import { NAME, NAME_ENTRY, NAME_WISH, NAMES, object } from './schemas.ts'

const NAMED = object({ name: NAME })

export function addNameRoutes(app: FastifyInstance, { face, events }: RouteParts): void {
  app.get(
    '/v1/names',
    described('read', { operationId: 'names', summary: 'The book of names', answers: { 200: json('Names.', NAMES) } }),
    () => ({ names: face.names.list() }),
  )
  app.put<{ Params: { name: string }; Body: { address: string; source?: string } }>(
    '/v1/names/:name',
    described('admin', {
      operationId: 'putName',
      summary: 'Give an address a name on this node',
      params: NAMED,
      body: NAME_WISH,
      answers: { 200: json('The entry.', NAME_ENTRY) },
    }),
    async ({ params: { name }, body: { address, source } }) => {
      await face.names.put(name, address, source)
      events.look()
      return face.names.list().find((entry) => entry.name === name) ?? { name, address, source: source ?? 'user', addedMs: 0 }
    },
  )
  app.delete<{ Params: { name: string } }>(
    '/v1/names/:name',
    described('admin', {
      operationId: 'removeName',
      summary: 'Take a name out of the book',
      params: NAMED,
      answers: { 204: nothing('It is gone.') },
    }),
    async ({ params: { name } }, reply) => {
      if (!(await face.names.remove(name))) {
        throw new HttpFailure(404, new OverlayError('not-found', 'NAME_UNKNOWN', 'There is no such name in the book.'))
      }
      events.look()
      return reply.code(204).send()
    },
  )
}
