/** Publishing sites: a tar as the next version of the site at a key, through the share guard, file by file as they come. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { guardedFiles } from '../guard/index.ts'
import { signalOf } from '../http/index.ts'
import { tarFiles } from '../sites/tar.ts'
import { isBug, refuse, sendJson, told } from './answers.ts'
import { bodyOf } from './body.ts'
import { described, json } from './openapi.ts'
import type { RouteParts } from './routes.ts'
import { bodyTypeOf } from './routes-content.ts'
import { CONFIRM, KEY_NAME, object, SITE_PUBLICATION, SITES } from './schemas.ts'

const PUBLISH_QUERY = object({ key: KEY_NAME, confirm: CONFIRM }, ['confirm'])

type SiteRequest = FastifyRequest<{ Querystring: { key: string; confirm?: string } }>

export function addSiteRoutes(app: FastifyInstance, parts: RouteParts): void {
  app.post<{ Querystring: { key: string; confirm?: string } }>(
    '/v1/sites',
    described('publish', {
      operationId: 'publishSite',
      summary: 'Publish a tar as the next version of the site at a key; the key is made if there is none',
      description:
        'What is usually private is answered with 409, a listing and a confirmation; nothing of it can be fetched then.',
      querystring: PUBLISH_QUERY,
      consumes: ['application/x-tar', '*/*'],
      answers: { 201: json('The version.', SITE_PUBLICATION) },
    }),
    (request, reply) => publishSite(request, reply, parts),
  )
  app.get(
    '/v1/sites',
    described('read', {
      operationId: 'sites',
      summary: 'The sites that this node publishes',
      answers: { 200: json('Sites.', SITES) },
    }),
    () => ({ sites: parts.face.sites.list() }),
  )
}

async function publishSite(request: SiteRequest, reply: FastifyReply, parts: RouteParts): Promise<void> {
  const { face, clock, log, closing, events, confirmations } = parts
  const { key, confirm } = request.query
  bodyTypeOf(request)
  reply.hijack()
  const signal = signalOf(request.raw, reply.raw, closing)
  const id = events.nextWork()
  const rules = { purpose: `site ${key}`, confirmed: confirm === undefined ? null : confirmations.find(confirm) }
  try {
    const files = guardedFiles(tarFiles(bodyOf(request.raw, { clock, signal }), { signal }), rules)
    const {
      address,
      version,
      bytes,
      files: count,
      uploaded,
      snapshot,
      receipt,
    } = await face.sites.publish(files, {
      key,
      signal,
      onProgress: (done) => events.tell('site', { id, name: key, state: 'running', bytes: done }),
    })
    events.look()
    sendJson(
      reply.raw,
      201,
      { address, version, bytes, files: count, uploaded, snapshot, receipt },
      { Location: `/v1/fetch/${address}/` },
    )
  } catch (error) {
    if (isBug(error)) log.error('a site could not be published because of a fault', { error })
    const answer = told(error, undefined, ({ digest }) => confirmations.issue(digest))
    events.tell('site', { id, name: key, state: 'failed', code: answer.failure.code })
    refuse(reply, error, answer, clock)
  }
}
