/**
 * The greeting of a new link, a pure state machine: who is there, of which network, and what the link is for. Until it is done nothing
 * else may be said; a breach closes the link without a word.
 *
 *   dialler: Hello →        dialled: (checks version, network, descriptor) Hello, Welcome →        both: agreed, or closed
 *
 * The dialled side says nothing before it has seen the right network id, so that a probe learns nothing. The purpose is the dialler's: a
 * neighbour, or a guest that only learns the directory. Spec: SPEC.md §3.4.
 */
import { equalPublic } from '../../src/bytes/index.ts'
import type { LinkCloseReason } from '../../src/link/index.ts'
import type { ControlMessage, Hello } from '../../src/wire/index.ts'

// Specification constants.
export const PROTOCOL_VERSION = 1
/** Time in which the greeting has to be done. */
export const GREETING_MS = 5_000

export type LinkPurpose = Hello['purpose']

/** `agreed`: from now on both may say more. */
export type GreetingEffect =
  | { readonly do: 'send'; readonly message: ControlMessage }
  | { readonly do: 'agreed'; readonly purpose: LinkPurpose }
  | { readonly do: 'refused' }
  | { readonly do: 'close'; readonly reason: LinkCloseReason }

export interface GreetingTools {
  /** 32 bytes. */
  readonly network: Uint8Array
  /** This node's own signed descriptor, as it is now. */
  readonly descriptor: () => Uint8Array
  /** Judges the other side's descriptor: `false` if it is not that node's or no honest node would send it. */
  readonly meet: (descriptor: Uint8Array, purpose: LinkPurpose) => boolean
  /** On the dialled side: whether there is room. */
  readonly admit: (purpose: LinkPurpose) => boolean
}

export class Greeting {
  /** What is waited for. */
  #state: 'hello' | 'welcome' | 'done' = 'hello'
  readonly #dialled: boolean
  /** The dialling side's; on the dialled side known from its Hello. */
  #purpose: LinkPurpose
  readonly #tools: GreetingTools

  /** `dialled`: whether this side dialled; then `purpose` is its own. */
  constructor(dialled: boolean, purpose: LinkPurpose, tools: GreetingTools) {
    this.#dialled = dialled
    this.#purpose = purpose
    this.#tools = tools
  }

  get done(): boolean {
    return this.#state === 'done'
  }

  get purpose(): LinkPurpose {
    return this.#purpose
  }

  /** What to do as soon as the link is there. */
  begin(): readonly GreetingEffect[] {
    return this.#dialled ? [this.#hello()] : []
  }

  onMessage(message: ControlMessage): readonly GreetingEffect[] {
    if (this.#state === 'hello' && message.kind === 'hello')
      return this.#dialled ? this.#onAnswer(message) : this.#onHello(message)
    if (this.#state !== 'welcome' || message.kind !== 'welcome') return this.#close('protocol')
    this.#state = 'done'
    if (!message.accepted) return [{ do: 'refused' }, { do: 'close', reason: 'local' }]
    return [{ do: 'agreed', purpose: this.#purpose }]
  }

  /** The greeting took too long. */
  onTimeout(): readonly GreetingEffect[] {
    return this.#state === 'done' ? [] : this.#close('timeout')
  }

  #onHello(hello: Hello): readonly GreetingEffect[] {
    this.#purpose = hello.purpose
    if (!this.#isOurs(hello)) return this.#close('protocol')
    this.#state = 'done'
    const accepted = this.#tools.admit(this.#purpose)
    const answer: GreetingEffect[] = [this.#hello(), { do: 'send', message: { kind: 'welcome', accepted } }]
    return [...answer, accepted ? { do: 'agreed', purpose: this.#purpose } : { do: 'close', reason: 'local' }]
  }

  #onAnswer(hello: Hello): readonly GreetingEffect[] {
    if (!this.#isOurs(hello)) return this.#close('protocol')
    this.#state = 'welcome'
    return []
  }

  #isOurs(hello: Hello): boolean {
    if (hello.version !== PROTOCOL_VERSION || !equalPublic(hello.network, this.#tools.network)) return false
    return this.#tools.meet(hello.descriptor, this.#purpose)
  }

  #close(reason: LinkCloseReason): readonly GreetingEffect[] {
    this.#state = 'done'
    return [{ do: 'close', reason }]
  }

  #hello(): GreetingEffect {
    const { network, descriptor } = this.#tools
    return {
      do: 'send',
      message: { kind: 'hello', version: PROTOCOL_VERSION, network, purpose: this.#purpose, descriptor: descriptor() },
    }
  }
}
