/** How many of many objects are still held by somebody: for code that passes things on and must not keep them. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

export class Held {
  readonly #refs: WeakRef<object>[] = []

  /** Watches `thing` and gives it back. */
  watch<T extends object>(thing: T): T {
    this.#refs.push(new WeakRef(thing))
    return thing
  }

  /** How many are alive after everything that can go has gone. */
  async count(): Promise<number> {
    setFlagsFromString('--expose-gc')
    const collect: () => void = runInNewContext('gc')
    for (let turn = 0; turn < 4; turn++) {
      await new Promise((resolve) => setImmediate(resolve))
      collect()
    }
    return this.#refs.filter((ref) => ref.deref() !== undefined).length
  }
}
