/**
 * What the proxies answer with when they have nothing else to show: a short, static page that loads nothing, and RFC 9209's line for
 * programs. Nothing of a request is echoed. Stages are told by name and time, not by loop: a page's own script may read this page, and
 * the numbers of this node's loops would be the same for all sites that ask.
 */
import { isOverlayError } from '../../src/errors/index.ts'
import { type Failure, failureOf, HttpFailure } from '../http/index.ts'
import type { TraceReport } from '../trace/index.ts'

/** Headers of such a page. */
export const PAGE_HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
  'Content-Type': 'text/html; charset=utf-8',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
} as const

/** Stages shown, the last ones: where it stopped is at the end. */
const STAGES_SHOWN = 12

/** How `error` is told to the client of a proxy. A service that is there and refuses is a bad gateway, not one to wait for. */
export function proxyFailure(error: unknown): Failure {
  return failureOf(isOverlayError(error, 'SERVICE_REFUSED') ? new HttpFailure(502, error) : error)
}

/** HTML of `failure`, with the stages of `trace` if there were any. */
export function failurePage({ status, title, detail, code, remedy }: Failure, trace?: TraceReport): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${status} ${escaped(title)}</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem;color-scheme:light dark}small,ol{opacity:.7}</style>
<h1>${escaped(title)}</h1>
<p>${escaped(detail)}
<p>${escaped(remedy)}
${trace === undefined ? '' : stageList(trace)}<p><small>Gyre proxy · ${status} · ${escaped(code)}</small>
</html>
`
}

function stageList({ id, stages }: TraceReport): string {
  if (stages.length === 0) return ''
  const items = stages.slice(-STAGES_SHOWN).map(({ stage, atMs, tookMs, note }) => {
    const took = tookMs === null ? 'a moment' : `took ${Math.round(tookMs)} ms`
    return `<li>${escaped(stage)}: began at ${Math.round(atMs)} ms, ${took}${note === null ? '' : ` (${escaped(note)})`}`
  })
  return `<ol>\n${items.join('\n')}\n</ol>\n<p><small>Trace ${escaped(id)}</small>\n`
}

/** The stage that a trace has not come out of: where the time was spent. */
export function openStage(trace: TraceReport | undefined): string | null {
  return trace?.stages.findLast(({ note }) => note === 'time is up' || note === 'not over')?.stage ?? null
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}

/** RFC 9209: who answered and why, without a name that tells nodes apart. */
export function proxyStatus({ status, code }: Failure): string {
  return `gyre; error=${ERROR_OF_CODE[code] ?? ERROR_OF_STATUS[status] ?? 'proxy_internal_error'}; details="${code}"`
}

const ERROR_OF_CODE: Readonly<Record<string, string>> = {
  NAME_UNKNOWN: 'destination_not_found',
  RECORD_NOT_FOUND: 'destination_not_found',
  SERVICE_BAD_ANSWER: 'http_response_incomplete',
  SERVICE_BUSY: 'destination_unavailable',
  SERVICE_REFUSED: 'connection_refused',
  SERVICE_UNREACHABLE: 'destination_unavailable',
}

const ERROR_OF_STATUS: Readonly<Record<number, string>> = {
  400: 'http_request_error',
  403: 'http_request_denied',
  404: 'destination_not_found',
  405: 'http_request_denied',
  408: 'http_request_error',
  412: 'http_request_error',
  416: 'http_request_error',
  417: 'http_request_error',
  431: 'http_request_error',
  502: 'destination_unavailable',
  503: 'destination_unavailable',
  504: 'connection_timeout',
}
