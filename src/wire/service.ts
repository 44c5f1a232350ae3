/** What services and their clients ask of an introduction point, and its answers. Handles and tokens are checked there, not here. Spec: SPEC.md §11.2. */
import { gyre } from './generated/messages.js'
import {
  INTRODUCTION_MESSAGE_BYTES_MAX,
  INTRODUCTION_POINT_BYTES,
  INTRODUCTION_REPLY_BYTES_MAX,
  INTRODUCTION_REQUEST_BYTES_MAX,
  INTRODUCTION_TOKEN_BYTES,
  INTRODUCTIONS_MAX,
  WORK_BYTES,
} from './limits.ts'
import { bytesField, decodeWith, encodeWith, integerField } from './protobuf.ts'

export interface AwaitIntroductions {
  readonly kind: 'await'
  /** 32 bytes. */
  readonly token: Uint8Array
}
export interface AnswerIntroduction {
  readonly kind: 'answer'
  /** 32 bytes. */
  readonly token: Uint8Array
  /** Below 2^53; which introduction. */
  readonly handle: number
  /** At most 1536 bytes; may be empty. */
  readonly message: Uint8Array
}
export interface Introduce {
  readonly kind: 'introduce'
  /** 32 bytes: the point's name. */
  readonly point: Uint8Array
  /** 1 to 1536 bytes. */
  readonly message: Uint8Array
  /** None, or 8 bytes. */
  readonly work: Uint8Array
}
export type IntroductionRequest = AwaitIntroductions | AnswerIntroduction | Introduce

/** An introduction as the service gets it. */
export interface Introduction {
  /** Below 2^53: what an answer must show. */
  readonly handle: number
  /** 1 to 1536 bytes. */
  readonly message: Uint8Array
  /** None, or 8 bytes; not verified by the reader of the message. */
  readonly work: Uint8Array
}

export interface IntroductionReply {
  /** At most 8. */
  readonly introductions: readonly Introduction[]
  /** At most 1536 bytes. */
  readonly message: Uint8Array
}

const { IntroductionRequest: RequestCodec, IntroductionReply: ReplyCodec } = gyre.service

export function encodeIntroductionRequest(request: IntroductionRequest): Uint8Array {
  switch (request.kind) {
    case 'await':
      return encodeWith(RequestCodec, { await: { token: request.token } })
    case 'answer': {
      const { token, handle, message } = request
      return encodeWith(RequestCodec, { answer: { token, handle, message } })
    }
    case 'introduce': {
      const { point, message, work } = request
      return encodeWith(RequestCodec, { introduce: { point, message, work } })
    }
  }
}

/** `null` for anything that SPEC.md §11.2 does not allow. Never throws; all fields are copies. */
export function parseIntroductionRequest(bytes: Uint8Array): IntroductionRequest | null {
  const raw = decodeWith(RequestCodec, bytes, INTRODUCTION_REQUEST_BYTES_MAX)
  switch (raw?.body) {
    case 'await': {
      const token = bytesField(raw.await?.token, INTRODUCTION_TOKEN_BYTES)
      return token && { kind: 'await', token }
    }
    case 'answer': {
      const token = bytesField(raw.answer?.token, INTRODUCTION_TOKEN_BYTES)
      const handle = integerField(raw.answer?.handle)
      const message = bytesField(raw.answer?.message, 0, INTRODUCTION_MESSAGE_BYTES_MAX)
      return token && handle !== null && message ? { kind: 'answer', token, handle, message } : null
    }
    case 'introduce': {
      const point = bytesField(raw.introduce?.point, INTRODUCTION_POINT_BYTES)
      const parts = partsOf(raw.introduce)
      return point && parts && { kind: 'introduce', point, ...parts }
    }
    default:
      return null
  }
}

export function encodeIntroductionReply(reply: IntroductionReply): Uint8Array {
  return encodeWith(ReplyCodec, { introductions: [...reply.introductions], message: reply.message })
}

/** `null` for more than 8 introductions, one that is not whole, or a message that is too long. No bytes at all are an empty reply. Never throws. */
export function parseIntroductionReply(bytes: Uint8Array): IntroductionReply | null {
  const raw = decodeWith(ReplyCodec, bytes, INTRODUCTION_REPLY_BYTES_MAX)
  const message = bytesField(raw?.message, 0, INTRODUCTION_MESSAGE_BYTES_MAX)
  if (raw === null || message === null || (raw.introductions?.length ?? 0) > INTRODUCTIONS_MAX) return null
  const introductions: Introduction[] = []
  for (const each of raw.introductions ?? []) {
    const handle = integerField(each.handle)
    const parts = partsOf(each)
    if (handle === null || parts === null) return null
    introductions.push({ handle, ...parts })
  }
  return { introductions, message }
}

function partsOf(raw: { message?: Uint8Array | null; work?: Uint8Array | null } | null | undefined) {
  const message = bytesField(raw?.message, 1, INTRODUCTION_MESSAGE_BYTES_MAX)
  const work = bytesField(raw?.work, 0, WORK_BYTES)
  return message !== null && work !== null && (work.length === 0 || work.length === WORK_BYTES) ? { message, work } : null
}
