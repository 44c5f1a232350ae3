/**
 * What fastify is given in place of the compilers of schemas that it would load by itself, used or not: those cost each node 100 ms at its
 * start and 7 MiB (24 instead of 130 ms, measured). Requests are checked by `validate.ts`; answers are sent as they are, and tests hold them against their schemas.
 */
import { type Schema, validatorFor } from './validate.ts'

/** Option of `fastify()`: loads nothing. The compilers are set afterwards (`useCompilers`). */
export const NO_COMPILERS = {
  compilersFactory: {
    buildValidator: () => (): never => {
      throw new Error('a schema is compiled before its compiler was set')
    },
    buildSerializer: () => () => JSON.stringify,
  },
}

interface Compilable {
  setValidatorCompiler(compiler: (route: { readonly schema: Schema; readonly httpPart?: string }) => Validator): unknown
  setSerializerCompiler(compiler: () => (value: unknown) => string): unknown
}

type Validator = (value: unknown) => { value: unknown } | { error: Error }

/** Sets ours. */
export function useCompilers(app: Compilable): void {
  app.setValidatorCompiler(({ schema, httpPart }) => validatorFor(schema, httpPart ?? 'body'))
  app.setSerializerCompiler(() => (value) => JSON.stringify(value))
}
