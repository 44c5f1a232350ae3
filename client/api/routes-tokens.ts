/** Tokens for single programs. Only an admin token sees or changes them. */
import type { FastifyInstance } from 'fastify'
import { noSuch } from './answers.ts'
import { described, json, nothing } from './openapi.ts'
import type { RouteParts } from './routes.ts'
import { KEY_NAME, NEW_TOKEN, object, TOKEN_WISH, TOKENS } from './schemas.ts'
import type { Scope } from './tokens.ts'

const NAMED = object({ name: KEY_NAME })

export function addTokenRoutes(app: FastifyInstance, { tokens }: RouteParts): void {
  app.post<{ Body: { name: string; scope: Scope } }>(
    '/v1/tokens',
    described('admin', {
      operationId: 'addToken',
      summary: 'Make a token for one program',
      body: TOKEN_WISH,
      answers: { 201: json('The token, told this once.', NEW_TOKEN) },
    }),
    async ({ body: { name, scope } }, reply) => {
      const token = await tokens.add(name, scope)
      return reply.code(201).send({ name, scope, token })
    },
  )
  app.get(
    '/v1/tokens',
    described('admin', {
      operationId: 'tokens',
      summary: 'The tokens that were made',
      answers: { 200: json('Tokens.', TOKENS) },
    }),
    () => ({ tokens: tokens.list() }),
  )
  app.delete<{ Params: { name: string } }>(
    '/v1/tokens/:name',
    described('admin', {
      operationId: 'removeToken',
      summary: 'Take a token back, at once',
      params: NAMED,
      answers: { 204: nothing('It is gone.') },
    }),
    async ({ params: { name } }, reply) => {
      if (!(await tokens.remove(name))) throw noSuch('There is no token of that name.')
      return reply.code(204).send()
    },
  )
}
