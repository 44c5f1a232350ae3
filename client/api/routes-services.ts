/** Live services: each opens a TCP target of this machine under a key's address, so only an admin token may add or remove one. */
import type { FastifyInstance } from 'fastify'
import { parseHostPort } from '../../src/config/index.ts'
import { noSuch } from './answers.ts'
import { described, json, nothing } from './openapi.ts'
import type { RouteParts } from './routes.ts'
import { KEY_NAME, object, SERVICE, SERVICE_ADDRESS, SERVICE_WISH, SERVICES } from './schemas.ts'
import { BadField } from './validation.ts'

const NAMED = object({ name: KEY_NAME })

interface Wish {
  readonly name: string
  readonly target: string
  readonly port?: number
  readonly loops?: number
  readonly rate?: number
}

export function addServiceRoutes(app: FastifyInstance, { face, events }: RouteParts): void {
  app.post<{ Body: Wish }>(
    '/v1/services',
    described('admin', {
      operationId: 'addService',
      summary: 'Offer what listens at a target of this machine, under the address of a key',
      body: SERVICE_WISH,
      answers: { 201: json('Its address; `GET` tells when it is up.', SERVICE_ADDRESS) },
    }),
    async ({ body: { target, ...wish } }, reply) => {
      const { address } = await face.services.add({ ...wish, target: targetOf(target) })
      events.look()
      return reply.code(201).send({ address })
    },
  )
  app.get(
    '/v1/services',
    described('read', {
      operationId: 'services',
      summary: 'The services that this node hosts',
      answers: { 200: json('Services.', SERVICES) },
    }),
    () => ({ services: face.services.list() }),
  )
  app.get<{ Params: { name: string } }>(
    '/v1/services/:name',
    described('read', {
      operationId: 'service',
      summary: 'One service',
      params: NAMED,
      answers: { 200: json('The service.', SERVICE) },
    }),
    ({ params: { name } }) => {
      const found = face.services.get(name)
      if (found === null) throw noSuch('There is no service of that name.')
      return found
    },
  )
  app.delete<{ Params: { name: string } }>(
    '/v1/services/:name',
    described('admin', {
      operationId: 'removeService',
      summary: 'Stop a service; its key, and so its address, stays',
      params: NAMED,
      answers: { 204: nothing('It is gone.') },
    }),
    async ({ params: { name } }, reply) => {
      if (!(await face.services.remove(name))) throw noSuch('There is no service of that name.')
      events.look()
      return reply.code(204).send()
    },
  )
}

function targetOf(text: string): { readonly host: string; readonly port: number } {
  let target: { readonly host: string; readonly port: number }
  try {
    target = parseHostPort(text)
  } catch {
    throw new BadField('body.target', '"body.target" takes HOST:PORT, the host an IP address or localhost.')
  }
  if (target.port === 0) throw new BadField('body.target', '"body.target" takes a port from 1 to 65535.')
  return target
}
