/** An end of an exchange that says numbers and hears the other's: without seals or repetition, so that tests see what the exchange itself does. */
import { readU32, writeU32 } from '../../src/bytes/index.ts'
import { type ExchangeEnd, type ExchangePort, PAYLOAD_BYTES } from '../../src/stream/index.ts'

export class Talker implements ExchangeEnd {
  port: ExchangePort | null = null
  /** Payloads given and come, content or not. */
  given = 0
  came = 0
  /** Numbers of content that came, in order. */
  readonly heard: number[] = []
  gone = 0
  #said = 0
  #until = 0

  /** Says the next `count` numbers, beginning with 1. */
  say(count: number): void {
    this.#until += count
    this.port?.wake()
  }

  /** Numbers said so far. */
  get said(): number {
    return this.#said
  }

  get wants(): boolean {
    return this.#said < this.#until
  }

  fill(into: Uint8Array, at: number): void {
    this.given++
    into.fill(0x55, at, at + PAYLOAD_BYTES)
    writeU32(into, at, this.wants ? ++this.#said : 0)
  }

  onPayload(bytes: Uint8Array, at: number): void {
    if (bytes[at + 4] !== 0x55 || bytes[at + PAYLOAD_BYTES - 1] !== 0x55) throw new Error('a payload was cut or moved')
    this.came++
    const said = readU32(bytes, at)
    if (said > 0) this.heard.push(said)
  }

  onGone(): void {
    this.gone++
  }
}
