/**
 * Conditional and range requests for one immutable representation: pure functions over header texts. Anything malformed is treated
 * as absent, as RFC 9110 §14.2 asks; only a well-formed set without a satisfiable part is an error.
 */
import type { ByteRange } from '../library.ts'

/** What a Range header asks for. `whole` also stands for headers that are absent, malformed or of several parts. */
export type Wanted =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly range: ByteRange }
  | { readonly kind: 'unsatisfiable' }

const WHOLE: Wanted = Object.freeze({ kind: 'whole' })
/** More parts than this are not looked at: they are a way to make a server work, not to read a file. */
const PARTS_MAX = 16

/**
 * Reads a Range header for a representation of `length` bytes (RFC 9110 §14.1.2). One satisfiable part: that part. Several: the whole,
 * which RFC 9110 §14.2 allows and which keeps blocks from being asked for twice. A suffix of an empty file: the whole.
 */
export function parseRange(header: string | undefined, length: number): Wanted {
  const set = header === undefined ? null : /^bytes=[ \t]*([\d\-, \t]{1,512})$/i.exec(header)
  if (set?.[1] === undefined) return WHOLE
  const specs = set[1]
    .split(',')
    .map((spec) => spec.trim())
    .filter((spec) => spec !== '')
  if (specs.length === 0 || specs.length > PARTS_MAX) return WHOLE
  const satisfiable: ByteRange[] = []
  for (const spec of specs) {
    const parts = /^(\d{0,30})-(\d{0,30})$/.exec(spec)
    if (parts === null || spec === '-') return WHOLE
    const [, first = '', last = ''] = parts
    if (first === '') {
      const suffix = Number(last)
      if (suffix > 0) satisfiable.push({ start: Math.max(0, length - suffix), end: length })
      continue
    }
    if (last !== '' && Number(last) < Number(first)) return WHOLE
    if (Number(first) < length)
      satisfiable.push({ start: Number(first), end: last === '' ? length : Math.min(length, Number(last) + 1) })
  }
  if (satisfiable.length === 0) return { kind: 'unsatisfiable' }
  const only = satisfiable[0]
  if (specs.length > 1 || only === undefined || length === 0) return WHOLE
  return { kind: 'part', range: only }
}

/** A strong entity tag in its quotes, whether `etag` came with them or not. */
export function quotedEtag(etag: string): string {
  return `"${etag.replaceAll(/[^\x21\x23-\x7e]/g, '')}"`
}

/** Whether a list of entity tags (`If-None-Match`, `If-Match`) names `etag`. `weak`: weak comparison (RFC 9110 §8.8.3.2). */
export function matchesEtag(list: string, etag: string, weak: boolean): boolean {
  if (list.trim() === '*') return true
  for (const [, prefix, tag] of list.matchAll(/(W\/)?("[\x21\x23-\x7e\x80-\xff]*")/g)) {
    if (tag === etag && (weak || prefix === undefined)) return true
  }
  return false
}

/** Whether an If-Range header lets a Range stand: only the very entity tag does; a date never matches, for there is none. */
export function rangeStands(ifRange: string | undefined, etag: string): boolean {
  return ifRange === undefined || ifRange.trim() === etag
}

const MEDIA_TYPE =
  /^[\w!#$&^.+-]{1,63}\/[\w!#$&^.+-]{1,63}(?:[ \t]*;[ \t]*[\w!#$&^.+-]{1,63}=(?:[\w!#$&^.+:/-]{1,63}|"[\w !#$&^.+:/=;,-]{0,63}"))*$/

/** `type` if it is a well-formed media type, else `application/octet-stream`. It came from a publisher: it must not add a header or line. */
export function safeContentType(type: string): string {
  return type.length <= 255 && MEDIA_TYPE.test(type) ? type : 'application/octet-stream'
}
