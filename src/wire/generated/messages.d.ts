// Generated from proto/*.proto by src/wire/generate.ts: do not edit; run `npm run proto`.
import * as $protobuf from "protobufjs/minimal.js";

/** Namespace gyre. */
export namespace gyre {

    /** Namespace link. */
    namespace link {

        /**
         * Properties of a Hello.
         * @deprecated Use gyre.link.Hello.$Properties instead.
         */
        interface IHello extends gyre.link.Hello.$Properties {
        }

        /** Represents a Hello. */
        class Hello {

            /**
             * Constructs a new Hello.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.link.Hello.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Hello version. */
            version: number;

            /** Hello network. */
            network: Uint8Array;

            /** Hello purpose. */
            purpose: gyre.link.Hello.Purpose;

            /** Hello descriptor. */
            descriptor: Uint8Array;

            /**
             * Encodes the specified Hello message. Does not implicitly {@link gyre.link.Hello.verify|verify} messages.
             * @param message Hello message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.link.Hello.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a Hello message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.link.Hello & gyre.link.Hello.$Shape} Hello
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.link.Hello & gyre.link.Hello.$Shape;
        }

        namespace Hello {

            /** Properties of a Hello. */
            interface $Properties {

                /** Hello version */
                version?: (number|null);

                /** Hello network */
                network?: (Uint8Array|null);

                /** Hello purpose */
                purpose?: (gyre.link.Hello.Purpose|null);

                /** Hello descriptor */
                descriptor?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a Hello. */
            type $Shape = gyre.link.Hello.$Properties;

            /** Purpose enum. */
            enum Purpose {

                /** NEIGHBOUR value */
                NEIGHBOUR = 0,

                /** GUEST value */
                GUEST = 1
            }
        }

        /**
         * Properties of a Welcome.
         * @deprecated Use gyre.link.Welcome.$Properties instead.
         */
        interface IWelcome extends gyre.link.Welcome.$Properties {
        }

        /** Represents a Welcome. */
        class Welcome {

            /**
             * Constructs a new Welcome.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.link.Welcome.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Welcome accepted. */
            accepted: boolean;

            /**
             * Encodes the specified Welcome message. Does not implicitly {@link gyre.link.Welcome.verify|verify} messages.
             * @param message Welcome message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.link.Welcome.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a Welcome message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.link.Welcome & gyre.link.Welcome.$Shape} Welcome
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.link.Welcome & gyre.link.Welcome.$Shape;
        }

        namespace Welcome {

            /** Properties of a Welcome. */
            interface $Properties {

                /** Welcome accepted */
                accepted?: (boolean|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a Welcome. */
            type $Shape = gyre.link.Welcome.$Properties;
        }

        /**
         * Properties of a Digest.
         * @deprecated Use gyre.link.Digest.$Properties instead.
         */
        interface IDigest extends gyre.link.Digest.$Properties {
        }

        /** Represents a Digest. */
        class Digest {

            /**
             * Constructs a new Digest.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.link.Digest.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Digest buckets. */
            buckets: Uint8Array;

            /**
             * Encodes the specified Digest message. Does not implicitly {@link gyre.link.Digest.verify|verify} messages.
             * @param message Digest message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.link.Digest.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a Digest message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.link.Digest & gyre.link.Digest.$Shape} Digest
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.link.Digest & gyre.link.Digest.$Shape;
        }

        namespace Digest {

            /** Properties of a Digest. */
            interface $Properties {

                /** Digest buckets */
                buckets?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a Digest. */
            type $Shape = gyre.link.Digest.$Properties;
        }

        /**
         * Properties of a Listing.
         * @deprecated Use gyre.link.Listing.$Properties instead.
         */
        interface IListing extends gyre.link.Listing.$Properties {
        }

        /** Represents a Listing. */
        class Listing {

            /**
             * Constructs a new Listing.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.link.Listing.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Listing buckets. */
            buckets: Uint8Array;

            /** Listing hashes. */
            hashes: Uint8Array;

            /**
             * Encodes the specified Listing message. Does not implicitly {@link gyre.link.Listing.verify|verify} messages.
             * @param message Listing message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.link.Listing.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a Listing message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.link.Listing & gyre.link.Listing.$Shape} Listing
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.link.Listing & gyre.link.Listing.$Shape;
        }

        namespace Listing {

            /** Properties of a Listing. */
            interface $Properties {

                /** Listing buckets */
                buckets?: (Uint8Array|null);

                /** Listing hashes */
                hashes?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a Listing. */
            type $Shape = gyre.link.Listing.$Properties;
        }

        /**
         * Properties of a Want.
         * @deprecated Use gyre.link.Want.$Properties instead.
         */
        interface IWant extends gyre.link.Want.$Properties {
        }

        /** Represents a Want. */
        class Want {

            /**
             * Constructs a new Want.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.link.Want.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Want hashes. */
            hashes: Uint8Array;

            /**
             * Encodes the specified Want message. Does not implicitly {@link gyre.link.Want.verify|verify} messages.
             * @param message Want message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.link.Want.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a Want message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.link.Want & gyre.link.Want.$Shape} Want
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.link.Want & gyre.link.Want.$Shape;
        }

        namespace Want {

            /** Properties of a Want. */
            interface $Properties {

                /** Want hashes */
                hashes?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a Want. */
            type $Shape = gyre.link.Want.$Properties;
        }

        /**
         * Properties of a Descriptors.
         * @deprecated Use gyre.link.Descriptors.$Properties instead.
         */
        interface IDescriptors extends gyre.link.Descriptors.$Properties {
        }

        /** Represents a Descriptors. */
        class Descriptors {

            /**
             * Constructs a new Descriptors.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.link.Descriptors.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Descriptors descriptors. */
            descriptors: Uint8Array[];

            /**
             * Encodes the specified Descriptors message. Does not implicitly {@link gyre.link.Descriptors.verify|verify} messages.
             * @param message Descriptors message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.link.Descriptors.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a Descriptors message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.link.Descriptors & gyre.link.Descriptors.$Shape} Descriptors
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.link.Descriptors & gyre.link.Descriptors.$Shape;
        }

        namespace Descriptors {

            /** Properties of a Descriptors. */
            interface $Properties {

                /** Descriptors descriptors */
                descriptors?: (Uint8Array[]|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a Descriptors. */
            type $Shape = gyre.link.Descriptors.$Properties;
        }

        /**
         * Properties of a Control.
         * @deprecated Use gyre.link.Control.$Properties instead.
         */
        interface IControl extends gyre.link.Control.$Properties {
        }

        /** Represents a Control. */
        class Control {

            /**
             * Constructs a new Control.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.link.Control.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Control hello. */
            hello?: (gyre.link.Hello.$Properties|null);

            /** Control welcome. */
            welcome?: (gyre.link.Welcome.$Properties|null);

            /** Control digest. */
            digest?: (gyre.link.Digest.$Properties|null);

            /** Control listing. */
            listing?: (gyre.link.Listing.$Properties|null);

            /** Control want. */
            want?: (gyre.link.Want.$Properties|null);

            /** Control descriptors. */
            descriptors?: (gyre.link.Descriptors.$Properties|null);

            /** Control body. */
            body?: ("hello"|"welcome"|"digest"|"listing"|"want"|"descriptors");

            /**
             * Encodes the specified Control message. Does not implicitly {@link gyre.link.Control.verify|verify} messages.
             * @param message Control message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.link.Control.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a Control message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.link.Control & gyre.link.Control.$Shape} Control
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.link.Control & gyre.link.Control.$Shape;
        }

        namespace Control {

            /** Properties of a Control. */
            interface $Properties {

                /** Control hello */
                hello?: (gyre.link.Hello.$Properties|null);

                /** Control welcome */
                welcome?: (gyre.link.Welcome.$Properties|null);

                /** Control digest */
                digest?: (gyre.link.Digest.$Properties|null);

                /** Control listing */
                listing?: (gyre.link.Listing.$Properties|null);

                /** Control want */
                want?: (gyre.link.Want.$Properties|null);

                /** Control descriptors */
                descriptors?: (gyre.link.Descriptors.$Properties|null);

                /** Control body */
                body?: ("hello"|"welcome"|"digest"|"listing"|"want"|"descriptors");

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Narrowed shape of a Control. */
            type $Shape = {
              hello?: gyre.link.Hello.$Shape|null;
              welcome?: gyre.link.Welcome.$Shape|null;
              digest?: gyre.link.Digest.$Shape|null;
              listing?: gyre.link.Listing.$Shape|null;
              want?: gyre.link.Want.$Shape|null;
              descriptors?: gyre.link.Descriptors.$Shape|null;
              $unknowns?: Uint8Array[];
            } & (
              ({ body?: undefined; hello?: null; welcome?: null; digest?: null; listing?: null; want?: null; descriptors?: null }|{ body?: "hello"; hello: gyre.link.Hello.$Shape; welcome?: null; digest?: null; listing?: null; want?: null; descriptors?: null }|{ body?: "welcome"; hello?: null; welcome: gyre.link.Welcome.$Shape; digest?: null; listing?: null; want?: null; descriptors?: null }|{ body?: "digest"; hello?: null; welcome?: null; digest: gyre.link.Digest.$Shape; listing?: null; want?: null; descriptors?: null }|{ body?: "listing"; hello?: null; welcome?: null; digest?: null; listing: gyre.link.Listing.$Shape; want?: null; descriptors?: null }|{ body?: "want"; hello?: null; welcome?: null; digest?: null; listing?: null; want: gyre.link.Want.$Shape; descriptors?: null }|{ body?: "descriptors"; hello?: null; welcome?: null; digest?: null; listing?: null; want?: null; descriptors: gyre.link.Descriptors.$Shape })
            );
        }
    }

    /** Namespace directory. */
    namespace directory {

        /**
         * Properties of an OnionKeys.
         * @deprecated Use gyre.directory.OnionKeys.$Properties instead.
         */
        interface IOnionKeys extends gyre.directory.OnionKeys.$Properties {
        }

        /** Represents an OnionKeys. */
        class OnionKeys {

            /**
             * Constructs a new OnionKeys.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.directory.OnionKeys.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** OnionKeys kid. */
            kid: number;

            /** OnionKeys x25519. */
            x25519: Uint8Array;

            /** OnionKeys mlkem768. */
            mlkem768: Uint8Array;

            /**
             * Encodes the specified OnionKeys message. Does not implicitly {@link gyre.directory.OnionKeys.verify|verify} messages.
             * @param message OnionKeys message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.directory.OnionKeys.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes an OnionKeys message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.directory.OnionKeys & gyre.directory.OnionKeys.$Shape} OnionKeys
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.directory.OnionKeys & gyre.directory.OnionKeys.$Shape;
        }

        namespace OnionKeys {

            /** Properties of an OnionKeys. */
            interface $Properties {

                /** OnionKeys kid */
                kid?: (number|null);

                /** OnionKeys x25519 */
                x25519?: (Uint8Array|null);

                /** OnionKeys mlkem768 */
                mlkem768?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of an OnionKeys. */
            type $Shape = gyre.directory.OnionKeys.$Properties;
        }

        /**
         * Properties of a Descriptor.
         * @deprecated Use gyre.directory.Descriptor.$Properties instead.
         */
        interface IDescriptor extends gyre.directory.Descriptor.$Properties {
        }

        /** Represents a Descriptor. */
        class Descriptor {

            /**
             * Constructs a new Descriptor.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.directory.Descriptor.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Descriptor version. */
            version: number;

            /** Descriptor network. */
            network: Uint8Array;

            /** Descriptor node. */
            node: Uint8Array;

            /** Descriptor addresses. */
            addresses: string[];

            /** Descriptor onion. */
            onion?: (gyre.directory.OnionKeys.$Properties|null);

            /** Descriptor capacityClass. */
            capacityClass: number;

            /** Descriptor storeQuotaBytes. */
            storeQuotaBytes: number;

            /** Descriptor publishedMs. */
            publishedMs: number;

            /** Descriptor neighbours. */
            neighbours: Uint8Array[];

            /** Descriptor family. */
            family: Uint8Array[];

            /** Descriptor work. */
            work: Uint8Array;

            /** Descriptor firstSeenDay. */
            firstSeenDay: number;

            /** Descriptor putEffort. */
            putEffort: number;

            /**
             * Encodes the specified Descriptor message. Does not implicitly {@link gyre.directory.Descriptor.verify|verify} messages.
             * @param message Descriptor message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.directory.Descriptor.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a Descriptor message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.directory.Descriptor & gyre.directory.Descriptor.$Shape} Descriptor
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.directory.Descriptor & gyre.directory.Descriptor.$Shape;
        }

        namespace Descriptor {

            /** Properties of a Descriptor. */
            interface $Properties {

                /** Descriptor version */
                version?: (number|null);

                /** Descriptor network */
                network?: (Uint8Array|null);

                /** Descriptor node */
                node?: (Uint8Array|null);

                /** Descriptor addresses */
                addresses?: (string[]|null);

                /** Descriptor onion */
                onion?: (gyre.directory.OnionKeys.$Properties|null);

                /** Descriptor capacityClass */
                capacityClass?: (number|null);

                /** Descriptor storeQuotaBytes */
                storeQuotaBytes?: (number|null);

                /** Descriptor publishedMs */
                publishedMs?: (number|null);

                /** Descriptor neighbours */
                neighbours?: (Uint8Array[]|null);

                /** Descriptor family */
                family?: (Uint8Array[]|null);

                /** Descriptor work */
                work?: (Uint8Array|null);

                /** Descriptor firstSeenDay */
                firstSeenDay?: (number|null);

                /** Descriptor putEffort */
                putEffort?: (number|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a Descriptor. */
            type $Shape = gyre.directory.Descriptor.$Properties;
        }

        /**
         * Properties of a SignedDescriptor.
         * @deprecated Use gyre.directory.SignedDescriptor.$Properties instead.
         */
        interface ISignedDescriptor extends gyre.directory.SignedDescriptor.$Properties {
        }

        /** Represents a SignedDescriptor. */
        class SignedDescriptor {

            /**
             * Constructs a new SignedDescriptor.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.directory.SignedDescriptor.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** SignedDescriptor descriptor. */
            descriptor: Uint8Array;

            /** SignedDescriptor signature. */
            signature: Uint8Array;

            /**
             * Encodes the specified SignedDescriptor message. Does not implicitly {@link gyre.directory.SignedDescriptor.verify|verify} messages.
             * @param message SignedDescriptor message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.directory.SignedDescriptor.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a SignedDescriptor message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.directory.SignedDescriptor & gyre.directory.SignedDescriptor.$Shape} SignedDescriptor
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.directory.SignedDescriptor & gyre.directory.SignedDescriptor.$Shape;
        }

        namespace SignedDescriptor {

            /** Properties of a SignedDescriptor. */
            interface $Properties {

                /** SignedDescriptor descriptor */
                descriptor?: (Uint8Array|null);

                /** SignedDescriptor signature */
                signature?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a SignedDescriptor. */
            type $Shape = gyre.directory.SignedDescriptor.$Properties;
        }
    }

    /** Namespace circuit. */
    namespace circuit {

        /**
         * Properties of a HopRequest.
         * @deprecated Use gyre.circuit.HopRequest.$Properties instead.
         */
        interface IHopRequest extends gyre.circuit.HopRequest.$Properties {
        }

        /** Represents a HopRequest. */
        class HopRequest {

            /**
             * Constructs a new HopRequest.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.circuit.HopRequest.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** HopRequest store. */
            store?: (Uint8Array|null);

            /** HopRequest ping. */
            ping?: (gyre.circuit.Ping.$Properties|null);

            /** HopRequest record. */
            record?: (Uint8Array|null);

            /** HopRequest introduction. */
            introduction?: (Uint8Array|null);

            /** HopRequest join. */
            join?: (gyre.circuit.Join.$Properties|null);

            /** HopRequest twin. */
            twin?: (gyre.circuit.Twin.$Properties|null);

            /** HopRequest body. */
            body?: ("store"|"ping"|"record"|"introduction"|"join"|"twin");

            /**
             * Encodes the specified HopRequest message. Does not implicitly {@link gyre.circuit.HopRequest.verify|verify} messages.
             * @param message HopRequest message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.circuit.HopRequest.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a HopRequest message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.circuit.HopRequest & gyre.circuit.HopRequest.$Shape} HopRequest
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.circuit.HopRequest & gyre.circuit.HopRequest.$Shape;
        }

        namespace HopRequest {

            /** Properties of a HopRequest. */
            interface $Properties {

                /** HopRequest store */
                store?: (Uint8Array|null);

                /** HopRequest ping */
                ping?: (gyre.circuit.Ping.$Properties|null);

                /** HopRequest record */
                record?: (Uint8Array|null);

                /** HopRequest introduction */
                introduction?: (Uint8Array|null);

                /** HopRequest join */
                join?: (gyre.circuit.Join.$Properties|null);

                /** HopRequest twin */
                twin?: (gyre.circuit.Twin.$Properties|null);

                /** HopRequest body */
                body?: ("store"|"ping"|"record"|"introduction"|"join"|"twin");

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Narrowed shape of a HopRequest. */
            type $Shape = {
              store?: Uint8Array|null;
              ping?: gyre.circuit.Ping.$Shape|null;
              record?: Uint8Array|null;
              introduction?: Uint8Array|null;
              join?: gyre.circuit.Join.$Shape|null;
              twin?: gyre.circuit.Twin.$Shape|null;
              $unknowns?: Uint8Array[];
            } & (
              ({ body?: undefined; store?: null; ping?: null; record?: null; introduction?: null; join?: null; twin?: null }|{ body?: "store"; store: Uint8Array; ping?: null; record?: null; introduction?: null; join?: null; twin?: null }|{ body?: "ping"; store?: null; ping: gyre.circuit.Ping.$Shape; record?: null; introduction?: null; join?: null; twin?: null }|{ body?: "record"; store?: null; ping?: null; record: Uint8Array; introduction?: null; join?: null; twin?: null }|{ body?: "introduction"; store?: null; ping?: null; record?: null; introduction: Uint8Array; join?: null; twin?: null }|{ body?: "join"; store?: null; ping?: null; record?: null; introduction?: null; join: gyre.circuit.Join.$Shape; twin?: null }|{ body?: "twin"; store?: null; ping?: null; record?: null; introduction?: null; join?: null; twin: gyre.circuit.Twin.$Shape })
            );
        }

        /**
         * Properties of a Join.
         * @deprecated Use gyre.circuit.Join.$Properties instead.
         */
        interface IJoin extends gyre.circuit.Join.$Properties {
        }

        /** Represents a Join. */
        class Join {

            /**
             * Constructs a new Join.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.circuit.Join.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Join cookie. */
            cookie: Uint8Array;

            /** Join exchange. */
            exchange: number;

            /**
             * Encodes the specified Join message. Does not implicitly {@link gyre.circuit.Join.verify|verify} messages.
             * @param message Join message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.circuit.Join.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a Join message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.circuit.Join & gyre.circuit.Join.$Shape} Join
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.circuit.Join & gyre.circuit.Join.$Shape;
        }

        namespace Join {

            /** Properties of a Join. */
            interface $Properties {

                /** Join cookie */
                cookie?: (Uint8Array|null);

                /** Join exchange */
                exchange?: (number|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a Join. */
            type $Shape = gyre.circuit.Join.$Properties;
        }

        /**
         * Properties of a Twin.
         * @deprecated Use gyre.circuit.Twin.$Properties instead.
         */
        interface ITwin extends gyre.circuit.Twin.$Properties {
        }

        /** Represents a Twin. */
        class Twin {

            /**
             * Constructs a new Twin.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.circuit.Twin.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Twin place. */
            place: number;

            /** Twin keys. */
            keys: Uint8Array;

            /** Twin rate. */
            rate: number;

            /** Twin liveEpoch. */
            liveEpoch: number;

            /** Twin closeEpoch. */
            closeEpoch: number;

            /** Twin holdMs. */
            holdMs: number;

            /**
             * Encodes the specified Twin message. Does not implicitly {@link gyre.circuit.Twin.verify|verify} messages.
             * @param message Twin message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.circuit.Twin.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a Twin message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.circuit.Twin & gyre.circuit.Twin.$Shape} Twin
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.circuit.Twin & gyre.circuit.Twin.$Shape;
        }

        namespace Twin {

            /** Properties of a Twin. */
            interface $Properties {

                /** Twin place */
                place?: (number|null);

                /** Twin keys */
                keys?: (Uint8Array|null);

                /** Twin rate */
                rate?: (number|null);

                /** Twin liveEpoch */
                liveEpoch?: (number|null);

                /** Twin closeEpoch */
                closeEpoch?: (number|null);

                /** Twin holdMs */
                holdMs?: (number|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a Twin. */
            type $Shape = gyre.circuit.Twin.$Properties;
        }

        /**
         * Properties of a Ping.
         * @deprecated Use gyre.circuit.Ping.$Properties instead.
         */
        interface IPing extends gyre.circuit.Ping.$Properties {
        }

        /** Represents a Ping. */
        class Ping {

            /**
             * Constructs a new Ping.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.circuit.Ping.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Ping filler. */
            filler: Uint8Array;

            /** Ping answerBytes. */
            answerBytes: number;

            /**
             * Encodes the specified Ping message. Does not implicitly {@link gyre.circuit.Ping.verify|verify} messages.
             * @param message Ping message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.circuit.Ping.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a Ping message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.circuit.Ping & gyre.circuit.Ping.$Shape} Ping
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.circuit.Ping & gyre.circuit.Ping.$Shape;
        }

        namespace Ping {

            /** Properties of a Ping. */
            interface $Properties {

                /** Ping filler */
                filler?: (Uint8Array|null);

                /** Ping answerBytes */
                answerBytes?: (number|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a Ping. */
            type $Shape = gyre.circuit.Ping.$Properties;
        }

        /**
         * Properties of a HopReply.
         * @deprecated Use gyre.circuit.HopReply.$Properties instead.
         */
        interface IHopReply extends gyre.circuit.HopReply.$Properties {
        }

        /** Represents a HopReply. */
        class HopReply {

            /**
             * Constructs a new HopReply.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.circuit.HopReply.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** HopReply status. */
            status: gyre.circuit.HopReply.Status;

            /** HopReply body. */
            body: Uint8Array;

            /**
             * Encodes the specified HopReply message. Does not implicitly {@link gyre.circuit.HopReply.verify|verify} messages.
             * @param message HopReply message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.circuit.HopReply.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a HopReply message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.circuit.HopReply & gyre.circuit.HopReply.$Shape} HopReply
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.circuit.HopReply & gyre.circuit.HopReply.$Shape;
        }

        namespace HopReply {

            /** Properties of a HopReply. */
            interface $Properties {

                /** HopReply status */
                status?: (gyre.circuit.HopReply.Status|null);

                /** HopReply body */
                body?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a HopReply. */
            type $Shape = gyre.circuit.HopReply.$Properties;

            /** Status enum. */
            enum Status {

                /** OK value */
                OK = 0,

                /** NOT_FOUND value */
                NOT_FOUND = 1,

                /** REFUSED value */
                REFUSED = 2,

                /** BUSY value */
                BUSY = 3,

                /** BAD_REQUEST value */
                BAD_REQUEST = 4
            }
        }
    }

    /** Namespace store. */
    namespace store {

        /**
         * Properties of a StoreRequest.
         * @deprecated Use gyre.store.StoreRequest.$Properties instead.
         */
        interface IStoreRequest extends gyre.store.StoreRequest.$Properties {
        }

        /** Represents a StoreRequest. */
        class StoreRequest {

            /**
             * Constructs a new StoreRequest.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.store.StoreRequest.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** StoreRequest putShare. */
            putShare?: (gyre.store.PutShare.$Properties|null);

            /** StoreRequest getShare. */
            getShare?: (gyre.store.GetShare.$Properties|null);

            /** StoreRequest putSlot. */
            putSlot?: (gyre.store.PutSlot.$Properties|null);

            /** StoreRequest getSlot. */
            getSlot?: (gyre.store.GetSlot.$Properties|null);

            /** StoreRequest checkShare. */
            checkShare?: (gyre.store.CheckShare.$Properties|null);

            /** StoreRequest checkSlot. */
            checkSlot?: (gyre.store.CheckSlot.$Properties|null);

            /** StoreRequest body. */
            body?: ("putShare"|"getShare"|"putSlot"|"getSlot"|"checkShare"|"checkSlot");

            /**
             * Encodes the specified StoreRequest message. Does not implicitly {@link gyre.store.StoreRequest.verify|verify} messages.
             * @param message StoreRequest message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.store.StoreRequest.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a StoreRequest message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.store.StoreRequest & gyre.store.StoreRequest.$Shape} StoreRequest
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.store.StoreRequest & gyre.store.StoreRequest.$Shape;
        }

        namespace StoreRequest {

            /** Properties of a StoreRequest. */
            interface $Properties {

                /** StoreRequest putShare */
                putShare?: (gyre.store.PutShare.$Properties|null);

                /** StoreRequest getShare */
                getShare?: (gyre.store.GetShare.$Properties|null);

                /** StoreRequest putSlot */
                putSlot?: (gyre.store.PutSlot.$Properties|null);

                /** StoreRequest getSlot */
                getSlot?: (gyre.store.GetSlot.$Properties|null);

                /** StoreRequest checkShare */
                checkShare?: (gyre.store.CheckShare.$Properties|null);

                /** StoreRequest checkSlot */
                checkSlot?: (gyre.store.CheckSlot.$Properties|null);

                /** StoreRequest body */
                body?: ("putShare"|"getShare"|"putSlot"|"getSlot"|"checkShare"|"checkSlot");

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Narrowed shape of a StoreRequest. */
            type $Shape = {
              putShare?: gyre.store.PutShare.$Shape|null;
              getShare?: gyre.store.GetShare.$Shape|null;
              putSlot?: gyre.store.PutSlot.$Shape|null;
              getSlot?: gyre.store.GetSlot.$Shape|null;
              checkShare?: gyre.store.CheckShare.$Shape|null;
              checkSlot?: gyre.store.CheckSlot.$Shape|null;
              $unknowns?: Uint8Array[];
            } & (
              ({ body?: undefined; putShare?: null; getShare?: null; putSlot?: null; getSlot?: null; checkShare?: null; checkSlot?: null }|{ body?: "putShare"; putShare: gyre.store.PutShare.$Shape; getShare?: null; putSlot?: null; getSlot?: null; checkShare?: null; checkSlot?: null }|{ body?: "getShare"; putShare?: null; getShare: gyre.store.GetShare.$Shape; putSlot?: null; getSlot?: null; checkShare?: null; checkSlot?: null }|{ body?: "putSlot"; putShare?: null; getShare?: null; putSlot: gyre.store.PutSlot.$Shape; getSlot?: null; checkShare?: null; checkSlot?: null }|{ body?: "getSlot"; putShare?: null; getShare?: null; putSlot?: null; getSlot: gyre.store.GetSlot.$Shape; checkShare?: null; checkSlot?: null }|{ body?: "checkShare"; putShare?: null; getShare?: null; putSlot?: null; getSlot?: null; checkShare: gyre.store.CheckShare.$Shape; checkSlot?: null }|{ body?: "checkSlot"; putShare?: null; getShare?: null; putSlot?: null; getSlot?: null; checkShare?: null; checkSlot: gyre.store.CheckSlot.$Shape })
            );
        }

        /**
         * Properties of a PutShare.
         * @deprecated Use gyre.store.PutShare.$Properties instead.
         */
        interface IPutShare extends gyre.store.PutShare.$Properties {
        }

        /** Represents a PutShare. */
        class PutShare {

            /**
             * Constructs a new PutShare.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.store.PutShare.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** PutShare share. */
            share: Uint8Array;

            /** PutShare keepHours. */
            keepHours: number;

            /** PutShare work. */
            work: Uint8Array;

            /**
             * Encodes the specified PutShare message. Does not implicitly {@link gyre.store.PutShare.verify|verify} messages.
             * @param message PutShare message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.store.PutShare.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a PutShare message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.store.PutShare & gyre.store.PutShare.$Shape} PutShare
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.store.PutShare & gyre.store.PutShare.$Shape;
        }

        namespace PutShare {

            /** Properties of a PutShare. */
            interface $Properties {

                /** PutShare share */
                share?: (Uint8Array|null);

                /** PutShare keepHours */
                keepHours?: (number|null);

                /** PutShare work */
                work?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a PutShare. */
            type $Shape = gyre.store.PutShare.$Properties;
        }

        /**
         * Properties of a GetShare.
         * @deprecated Use gyre.store.GetShare.$Properties instead.
         */
        interface IGetShare extends gyre.store.GetShare.$Properties {
        }

        /** Represents a GetShare. */
        class GetShare {

            /**
             * Constructs a new GetShare.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.store.GetShare.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** GetShare address. */
            address: Uint8Array;

            /**
             * Encodes the specified GetShare message. Does not implicitly {@link gyre.store.GetShare.verify|verify} messages.
             * @param message GetShare message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.store.GetShare.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a GetShare message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.store.GetShare & gyre.store.GetShare.$Shape} GetShare
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.store.GetShare & gyre.store.GetShare.$Shape;
        }

        namespace GetShare {

            /** Properties of a GetShare. */
            interface $Properties {

                /** GetShare address */
                address?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a GetShare. */
            type $Shape = gyre.store.GetShare.$Properties;
        }

        /**
         * Properties of a PutSlot.
         * @deprecated Use gyre.store.PutSlot.$Properties instead.
         */
        interface IPutSlot extends gyre.store.PutSlot.$Properties {
        }

        /** Represents a PutSlot. */
        class PutSlot {

            /**
             * Constructs a new PutSlot.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.store.PutSlot.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** PutSlot publicKey. */
            publicKey: Uint8Array;

            /** PutSlot slot. */
            slot: number;

            /** PutSlot value. */
            value: Uint8Array;

            /** PutSlot signature. */
            signature: Uint8Array;

            /** PutSlot keepHours. */
            keepHours: number;

            /** PutSlot work. */
            work: Uint8Array;

            /**
             * Encodes the specified PutSlot message. Does not implicitly {@link gyre.store.PutSlot.verify|verify} messages.
             * @param message PutSlot message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.store.PutSlot.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a PutSlot message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.store.PutSlot & gyre.store.PutSlot.$Shape} PutSlot
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.store.PutSlot & gyre.store.PutSlot.$Shape;
        }

        namespace PutSlot {

            /** Properties of a PutSlot. */
            interface $Properties {

                /** PutSlot publicKey */
                publicKey?: (Uint8Array|null);

                /** PutSlot slot */
                slot?: (number|null);

                /** PutSlot value */
                value?: (Uint8Array|null);

                /** PutSlot signature */
                signature?: (Uint8Array|null);

                /** PutSlot keepHours */
                keepHours?: (number|null);

                /** PutSlot work */
                work?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a PutSlot. */
            type $Shape = gyre.store.PutSlot.$Properties;
        }

        /**
         * Properties of a GetSlot.
         * @deprecated Use gyre.store.GetSlot.$Properties instead.
         */
        interface IGetSlot extends gyre.store.GetSlot.$Properties {
        }

        /** Represents a GetSlot. */
        class GetSlot {

            /**
             * Constructs a new GetSlot.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.store.GetSlot.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** GetSlot location. */
            location: Uint8Array;

            /**
             * Encodes the specified GetSlot message. Does not implicitly {@link gyre.store.GetSlot.verify|verify} messages.
             * @param message GetSlot message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.store.GetSlot.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a GetSlot message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.store.GetSlot & gyre.store.GetSlot.$Shape} GetSlot
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.store.GetSlot & gyre.store.GetSlot.$Shape;
        }

        namespace GetSlot {

            /** Properties of a GetSlot. */
            interface $Properties {

                /** GetSlot location */
                location?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a GetSlot. */
            type $Shape = gyre.store.GetSlot.$Properties;
        }

        /**
         * Properties of a CheckShare.
         * @deprecated Use gyre.store.CheckShare.$Properties instead.
         */
        interface ICheckShare extends gyre.store.CheckShare.$Properties {
        }

        /** Represents a CheckShare. */
        class CheckShare {

            /**
             * Constructs a new CheckShare.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.store.CheckShare.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** CheckShare address. */
            address: Uint8Array;

            /** CheckShare nonce. */
            nonce: Uint8Array;

            /** CheckShare keepHours. */
            keepHours: number;

            /** CheckShare work. */
            work: Uint8Array;

            /**
             * Encodes the specified CheckShare message. Does not implicitly {@link gyre.store.CheckShare.verify|verify} messages.
             * @param message CheckShare message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.store.CheckShare.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a CheckShare message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.store.CheckShare & gyre.store.CheckShare.$Shape} CheckShare
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.store.CheckShare & gyre.store.CheckShare.$Shape;
        }

        namespace CheckShare {

            /** Properties of a CheckShare. */
            interface $Properties {

                /** CheckShare address */
                address?: (Uint8Array|null);

                /** CheckShare nonce */
                nonce?: (Uint8Array|null);

                /** CheckShare keepHours */
                keepHours?: (number|null);

                /** CheckShare work */
                work?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a CheckShare. */
            type $Shape = gyre.store.CheckShare.$Properties;
        }

        /**
         * Properties of a CheckSlot.
         * @deprecated Use gyre.store.CheckSlot.$Properties instead.
         */
        interface ICheckSlot extends gyre.store.CheckSlot.$Properties {
        }

        /** Represents a CheckSlot. */
        class CheckSlot {

            /**
             * Constructs a new CheckSlot.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.store.CheckSlot.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** CheckSlot location. */
            location: Uint8Array;

            /** CheckSlot valueHash. */
            valueHash: Uint8Array;

            /** CheckSlot nonce. */
            nonce: Uint8Array;

            /** CheckSlot keepHours. */
            keepHours: number;

            /** CheckSlot work. */
            work: Uint8Array;

            /**
             * Encodes the specified CheckSlot message. Does not implicitly {@link gyre.store.CheckSlot.verify|verify} messages.
             * @param message CheckSlot message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.store.CheckSlot.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a CheckSlot message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.store.CheckSlot & gyre.store.CheckSlot.$Shape} CheckSlot
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.store.CheckSlot & gyre.store.CheckSlot.$Shape;
        }

        namespace CheckSlot {

            /** Properties of a CheckSlot. */
            interface $Properties {

                /** CheckSlot location */
                location?: (Uint8Array|null);

                /** CheckSlot valueHash */
                valueHash?: (Uint8Array|null);

                /** CheckSlot nonce */
                nonce?: (Uint8Array|null);

                /** CheckSlot keepHours */
                keepHours?: (number|null);

                /** CheckSlot work */
                work?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a CheckSlot. */
            type $Shape = gyre.store.CheckSlot.$Properties;
        }

        /**
         * Properties of a StoreReply.
         * @deprecated Use gyre.store.StoreReply.$Properties instead.
         */
        interface IStoreReply extends gyre.store.StoreReply.$Properties {
        }

        /** Represents a StoreReply. */
        class StoreReply {

            /**
             * Constructs a new StoreReply.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.store.StoreReply.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** StoreReply share. */
            share: Uint8Array;

            /** StoreReply slots. */
            slots: gyre.store.SlotValue.$Properties[];

            /** StoreReply proof. */
            proof: Uint8Array;

            /**
             * Encodes the specified StoreReply message. Does not implicitly {@link gyre.store.StoreReply.verify|verify} messages.
             * @param message StoreReply message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.store.StoreReply.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a StoreReply message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.store.StoreReply & gyre.store.StoreReply.$Shape} StoreReply
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.store.StoreReply & gyre.store.StoreReply.$Shape;
        }

        namespace StoreReply {

            /** Properties of a StoreReply. */
            interface $Properties {

                /** StoreReply share */
                share?: (Uint8Array|null);

                /** StoreReply slots */
                slots?: (gyre.store.SlotValue.$Properties[]|null);

                /** StoreReply proof */
                proof?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a StoreReply. */
            type $Shape = gyre.store.StoreReply.$Properties;
        }

        /**
         * Properties of a SlotValue.
         * @deprecated Use gyre.store.SlotValue.$Properties instead.
         */
        interface ISlotValue extends gyre.store.SlotValue.$Properties {
        }

        /** Represents a SlotValue. */
        class SlotValue {

            /**
             * Constructs a new SlotValue.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.store.SlotValue.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** SlotValue publicKey. */
            publicKey: Uint8Array;

            /** SlotValue slot. */
            slot: number;

            /** SlotValue value. */
            value: Uint8Array;

            /** SlotValue signature. */
            signature: Uint8Array;

            /**
             * Encodes the specified SlotValue message. Does not implicitly {@link gyre.store.SlotValue.verify|verify} messages.
             * @param message SlotValue message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.store.SlotValue.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a SlotValue message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.store.SlotValue & gyre.store.SlotValue.$Shape} SlotValue
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.store.SlotValue & gyre.store.SlotValue.$Shape;
        }

        namespace SlotValue {

            /** Properties of a SlotValue. */
            interface $Properties {

                /** SlotValue publicKey */
                publicKey?: (Uint8Array|null);

                /** SlotValue slot */
                slot?: (number|null);

                /** SlotValue value */
                value?: (Uint8Array|null);

                /** SlotValue signature */
                signature?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a SlotValue. */
            type $Shape = gyre.store.SlotValue.$Properties;
        }
    }

    /** Namespace record. */
    namespace record {

        /**
         * Properties of a Record.
         * @deprecated Use gyre.record.Record.$Properties instead.
         */
        interface IRecord extends gyre.record.Record.$Properties {
        }

        /** Represents a Record. */
        class Record {

            /**
             * Constructs a new Record.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.record.Record.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Record publicKey. */
            publicKey: Uint8Array;

            /** Record sequence. */
            sequence: number;

            /** Record expiresMs. */
            expiresMs: number;

            /** Record value. */
            value: Uint8Array;

            /** Record signature. */
            signature: Uint8Array;

            /**
             * Encodes the specified Record message. Does not implicitly {@link gyre.record.Record.verify|verify} messages.
             * @param message Record message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.record.Record.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a Record message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.record.Record & gyre.record.Record.$Shape} Record
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.record.Record & gyre.record.Record.$Shape;
        }

        namespace Record {

            /** Properties of a Record. */
            interface $Properties {

                /** Record publicKey */
                publicKey?: (Uint8Array|null);

                /** Record sequence */
                sequence?: (number|null);

                /** Record expiresMs */
                expiresMs?: (number|null);

                /** Record value */
                value?: (Uint8Array|null);

                /** Record signature */
                signature?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a Record. */
            type $Shape = gyre.record.Record.$Properties;
        }

        /**
         * Properties of a PutRecord.
         * @deprecated Use gyre.record.PutRecord.$Properties instead.
         */
        interface IPutRecord extends gyre.record.PutRecord.$Properties {
        }

        /** Represents a PutRecord. */
        class PutRecord {

            /**
             * Constructs a new PutRecord.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.record.PutRecord.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** PutRecord record. */
            record?: (gyre.record.Record.$Properties|null);

            /** PutRecord work. */
            work: Uint8Array;

            /**
             * Encodes the specified PutRecord message. Does not implicitly {@link gyre.record.PutRecord.verify|verify} messages.
             * @param message PutRecord message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.record.PutRecord.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a PutRecord message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.record.PutRecord & gyre.record.PutRecord.$Shape} PutRecord
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.record.PutRecord & gyre.record.PutRecord.$Shape;
        }

        namespace PutRecord {

            /** Properties of a PutRecord. */
            interface $Properties {

                /** PutRecord record */
                record?: (gyre.record.Record.$Properties|null);

                /** PutRecord work */
                work?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a PutRecord. */
            type $Shape = gyre.record.PutRecord.$Properties;
        }

        /**
         * Properties of a GetRecord.
         * @deprecated Use gyre.record.GetRecord.$Properties instead.
         */
        interface IGetRecord extends gyre.record.GetRecord.$Properties {
        }

        /** Represents a GetRecord. */
        class GetRecord {

            /**
             * Constructs a new GetRecord.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.record.GetRecord.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** GetRecord publicKey. */
            publicKey: Uint8Array;

            /**
             * Encodes the specified GetRecord message. Does not implicitly {@link gyre.record.GetRecord.verify|verify} messages.
             * @param message GetRecord message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.record.GetRecord.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a GetRecord message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.record.GetRecord & gyre.record.GetRecord.$Shape} GetRecord
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.record.GetRecord & gyre.record.GetRecord.$Shape;
        }

        namespace GetRecord {

            /** Properties of a GetRecord. */
            interface $Properties {

                /** GetRecord publicKey */
                publicKey?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a GetRecord. */
            type $Shape = gyre.record.GetRecord.$Properties;
        }

        /**
         * Properties of a RecordRequest.
         * @deprecated Use gyre.record.RecordRequest.$Properties instead.
         */
        interface IRecordRequest extends gyre.record.RecordRequest.$Properties {
        }

        /** Represents a RecordRequest. */
        class RecordRequest {

            /**
             * Constructs a new RecordRequest.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.record.RecordRequest.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** RecordRequest put. */
            put?: (gyre.record.PutRecord.$Properties|null);

            /** RecordRequest get. */
            get?: (gyre.record.GetRecord.$Properties|null);

            /** RecordRequest body. */
            body?: ("put"|"get");

            /**
             * Encodes the specified RecordRequest message. Does not implicitly {@link gyre.record.RecordRequest.verify|verify} messages.
             * @param message RecordRequest message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.record.RecordRequest.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a RecordRequest message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.record.RecordRequest & gyre.record.RecordRequest.$Shape} RecordRequest
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.record.RecordRequest & gyre.record.RecordRequest.$Shape;
        }

        namespace RecordRequest {

            /** Properties of a RecordRequest. */
            interface $Properties {

                /** RecordRequest put */
                put?: (gyre.record.PutRecord.$Properties|null);

                /** RecordRequest get */
                get?: (gyre.record.GetRecord.$Properties|null);

                /** RecordRequest body */
                body?: ("put"|"get");

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Narrowed shape of a RecordRequest. */
            type $Shape = {
              put?: gyre.record.PutRecord.$Shape|null;
              get?: gyre.record.GetRecord.$Shape|null;
              $unknowns?: Uint8Array[];
            } & (
              ({ body?: undefined; put?: null; get?: null }|{ body?: "put"; put: gyre.record.PutRecord.$Shape; get?: null }|{ body?: "get"; put?: null; get: gyre.record.GetRecord.$Shape })
            );
        }

        /**
         * Properties of a RecordReply.
         * @deprecated Use gyre.record.RecordReply.$Properties instead.
         */
        interface IRecordReply extends gyre.record.RecordReply.$Properties {
        }

        /** Represents a RecordReply. */
        class RecordReply {

            /**
             * Constructs a new RecordReply.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.record.RecordReply.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** RecordReply record. */
            record?: (gyre.record.Record.$Properties|null);

            /**
             * Encodes the specified RecordReply message. Does not implicitly {@link gyre.record.RecordReply.verify|verify} messages.
             * @param message RecordReply message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.record.RecordReply.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a RecordReply message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.record.RecordReply & gyre.record.RecordReply.$Shape} RecordReply
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.record.RecordReply & gyre.record.RecordReply.$Shape;
        }

        namespace RecordReply {

            /** Properties of a RecordReply. */
            interface $Properties {

                /** RecordReply record */
                record?: (gyre.record.Record.$Properties|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a RecordReply. */
            type $Shape = gyre.record.RecordReply.$Properties;
        }

        /**
         * Properties of a KeyRecord.
         * @deprecated Use gyre.record.KeyRecord.$Properties instead.
         */
        interface IKeyRecord extends gyre.record.KeyRecord.$Properties {
        }

        /** Represents a KeyRecord. */
        class KeyRecord {

            /**
             * Constructs a new KeyRecord.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.record.KeyRecord.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** KeyRecord sequence. */
            sequence: number;

            /** KeyRecord site. */
            site?: (gyre.record.Site.$Properties|null);

            /** KeyRecord service. */
            service?: (gyre.record.Service.$Properties|null);

            /**
             * Encodes the specified KeyRecord message. Does not implicitly {@link gyre.record.KeyRecord.verify|verify} messages.
             * @param message KeyRecord message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.record.KeyRecord.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a KeyRecord message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.record.KeyRecord & gyre.record.KeyRecord.$Shape} KeyRecord
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.record.KeyRecord & gyre.record.KeyRecord.$Shape;
        }

        namespace KeyRecord {

            /** Properties of a KeyRecord. */
            interface $Properties {

                /** KeyRecord sequence */
                sequence?: (number|null);

                /** KeyRecord site */
                site?: (gyre.record.Site.$Properties|null);

                /** KeyRecord service */
                service?: (gyre.record.Service.$Properties|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a KeyRecord. */
            type $Shape = gyre.record.KeyRecord.$Properties;
        }

        /**
         * Properties of a Site.
         * @deprecated Use gyre.record.Site.$Properties instead.
         */
        interface ISite extends gyre.record.Site.$Properties {
        }

        /** Represents a Site. */
        class Site {

            /**
             * Constructs a new Site.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.record.Site.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Site snapshot. */
            snapshot: Uint8Array;

            /** Site version. */
            version: number;

            /** Site bytes. */
            bytes: number;

            /** Site files. */
            files: number;

            /**
             * Encodes the specified Site message. Does not implicitly {@link gyre.record.Site.verify|verify} messages.
             * @param message Site message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.record.Site.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a Site message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.record.Site & gyre.record.Site.$Shape} Site
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.record.Site & gyre.record.Site.$Shape;
        }

        namespace Site {

            /** Properties of a Site. */
            interface $Properties {

                /** Site snapshot */
                snapshot?: (Uint8Array|null);

                /** Site version */
                version?: (number|null);

                /** Site bytes */
                bytes?: (number|null);

                /** Site files */
                files?: (number|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a Site. */
            type $Shape = gyre.record.Site.$Properties;
        }

        /**
         * Properties of a Service.
         * @deprecated Use gyre.record.Service.$Properties instead.
         */
        interface IService extends gyre.record.Service.$Properties {
        }

        /** Represents a Service. */
        class Service {

            /**
             * Constructs a new Service.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.record.Service.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Service x25519. */
            x25519: Uint8Array;

            /** Service mlkem768. */
            mlkem768: Uint8Array;

            /** Service points. */
            points: gyre.record.Point.$Properties[];

            /** Service ports. */
            ports: number[];

            /** Service effort. */
            effort: number;

            /**
             * Encodes the specified Service message. Does not implicitly {@link gyre.record.Service.verify|verify} messages.
             * @param message Service message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.record.Service.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a Service message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.record.Service & gyre.record.Service.$Shape} Service
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.record.Service & gyre.record.Service.$Shape;
        }

        namespace Service {

            /** Properties of a Service. */
            interface $Properties {

                /** Service x25519 */
                x25519?: (Uint8Array|null);

                /** Service mlkem768 */
                mlkem768?: (Uint8Array|null);

                /** Service points */
                points?: (gyre.record.Point.$Properties[]|null);

                /** Service ports */
                ports?: (number[]|null);

                /** Service effort */
                effort?: (number|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a Service. */
            type $Shape = gyre.record.Service.$Properties;
        }

        /**
         * Properties of a Point.
         * @deprecated Use gyre.record.Point.$Properties instead.
         */
        interface IPoint extends gyre.record.Point.$Properties {
        }

        /** Represents a Point. */
        class Point {

            /**
             * Constructs a new Point.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.record.Point.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Point node. */
            node: Uint8Array;

            /** Point point. */
            point: Uint8Array;

            /**
             * Encodes the specified Point message. Does not implicitly {@link gyre.record.Point.verify|verify} messages.
             * @param message Point message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.record.Point.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes a Point message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.record.Point & gyre.record.Point.$Shape} Point
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.record.Point & gyre.record.Point.$Shape;
        }

        namespace Point {

            /** Properties of a Point. */
            interface $Properties {

                /** Point node */
                node?: (Uint8Array|null);

                /** Point point */
                point?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of a Point. */
            type $Shape = gyre.record.Point.$Properties;
        }
    }

    /** Namespace service. */
    namespace service {

        /**
         * Properties of an IntroductionRequest.
         * @deprecated Use gyre.service.IntroductionRequest.$Properties instead.
         */
        interface IIntroductionRequest extends gyre.service.IntroductionRequest.$Properties {
        }

        /** Represents an IntroductionRequest. */
        class IntroductionRequest {

            /**
             * Constructs a new IntroductionRequest.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.service.IntroductionRequest.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** IntroductionRequest await. */
            await?: (gyre.service.Await.$Properties|null);

            /** IntroductionRequest answer. */
            answer?: (gyre.service.Answer.$Properties|null);

            /** IntroductionRequest introduce. */
            introduce?: (gyre.service.Introduce.$Properties|null);

            /** IntroductionRequest body. */
            body?: ("await"|"answer"|"introduce");

            /**
             * Encodes the specified IntroductionRequest message. Does not implicitly {@link gyre.service.IntroductionRequest.verify|verify} messages.
             * @param message IntroductionRequest message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.service.IntroductionRequest.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes an IntroductionRequest message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.service.IntroductionRequest & gyre.service.IntroductionRequest.$Shape} IntroductionRequest
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.service.IntroductionRequest & gyre.service.IntroductionRequest.$Shape;
        }

        namespace IntroductionRequest {

            /** Properties of an IntroductionRequest. */
            interface $Properties {

                /** IntroductionRequest await */
                await?: (gyre.service.Await.$Properties|null);

                /** IntroductionRequest answer */
                answer?: (gyre.service.Answer.$Properties|null);

                /** IntroductionRequest introduce */
                introduce?: (gyre.service.Introduce.$Properties|null);

                /** IntroductionRequest body */
                body?: ("await"|"answer"|"introduce");

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Narrowed shape of an IntroductionRequest. */
            type $Shape = {
              await?: gyre.service.Await.$Shape|null;
              answer?: gyre.service.Answer.$Shape|null;
              introduce?: gyre.service.Introduce.$Shape|null;
              $unknowns?: Uint8Array[];
            } & (
              ({ body?: undefined; await?: null; answer?: null; introduce?: null }|{ body?: "await"; await: gyre.service.Await.$Shape; answer?: null; introduce?: null }|{ body?: "answer"; await?: null; answer: gyre.service.Answer.$Shape; introduce?: null }|{ body?: "introduce"; await?: null; answer?: null; introduce: gyre.service.Introduce.$Shape })
            );
        }

        /**
         * Properties of an Await.
         * @deprecated Use gyre.service.Await.$Properties instead.
         */
        interface IAwait extends gyre.service.Await.$Properties {
        }

        /** Represents an Await. */
        class Await {

            /**
             * Constructs a new Await.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.service.Await.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Await token. */
            token: Uint8Array;

            /**
             * Encodes the specified Await message. Does not implicitly {@link gyre.service.Await.verify|verify} messages.
             * @param message Await message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.service.Await.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes an Await message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.service.Await & gyre.service.Await.$Shape} Await
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.service.Await & gyre.service.Await.$Shape;
        }

        namespace Await {

            /** Properties of an Await. */
            interface $Properties {

                /** Await token */
                token?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of an Await. */
            type $Shape = gyre.service.Await.$Properties;
        }

        /**
         * Properties of an Answer.
         * @deprecated Use gyre.service.Answer.$Properties instead.
         */
        interface IAnswer extends gyre.service.Answer.$Properties {
        }

        /** Represents an Answer. */
        class Answer {

            /**
             * Constructs a new Answer.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.service.Answer.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Answer token. */
            token: Uint8Array;

            /** Answer handle. */
            handle: number;

            /** Answer message. */
            message: Uint8Array;

            /**
             * Encodes the specified Answer message. Does not implicitly {@link gyre.service.Answer.verify|verify} messages.
             * @param message Answer message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.service.Answer.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes an Answer message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.service.Answer & gyre.service.Answer.$Shape} Answer
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.service.Answer & gyre.service.Answer.$Shape;
        }

        namespace Answer {

            /** Properties of an Answer. */
            interface $Properties {

                /** Answer token */
                token?: (Uint8Array|null);

                /** Answer handle */
                handle?: (number|null);

                /** Answer message */
                message?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of an Answer. */
            type $Shape = gyre.service.Answer.$Properties;
        }

        /**
         * Properties of an Introduce.
         * @deprecated Use gyre.service.Introduce.$Properties instead.
         */
        interface IIntroduce extends gyre.service.Introduce.$Properties {
        }

        /** Represents an Introduce. */
        class Introduce {

            /**
             * Constructs a new Introduce.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.service.Introduce.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Introduce point. */
            point: Uint8Array;

            /** Introduce message. */
            message: Uint8Array;

            /** Introduce work. */
            work: Uint8Array;

            /**
             * Encodes the specified Introduce message. Does not implicitly {@link gyre.service.Introduce.verify|verify} messages.
             * @param message Introduce message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.service.Introduce.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes an Introduce message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.service.Introduce & gyre.service.Introduce.$Shape} Introduce
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.service.Introduce & gyre.service.Introduce.$Shape;
        }

        namespace Introduce {

            /** Properties of an Introduce. */
            interface $Properties {

                /** Introduce point */
                point?: (Uint8Array|null);

                /** Introduce message */
                message?: (Uint8Array|null);

                /** Introduce work */
                work?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of an Introduce. */
            type $Shape = gyre.service.Introduce.$Properties;
        }

        /**
         * Properties of an Introduction.
         * @deprecated Use gyre.service.Introduction.$Properties instead.
         */
        interface IIntroduction extends gyre.service.Introduction.$Properties {
        }

        /** Represents an Introduction. */
        class Introduction {

            /**
             * Constructs a new Introduction.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.service.Introduction.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** Introduction handle. */
            handle: number;

            /** Introduction message. */
            message: Uint8Array;

            /** Introduction work. */
            work: Uint8Array;

            /**
             * Encodes the specified Introduction message. Does not implicitly {@link gyre.service.Introduction.verify|verify} messages.
             * @param message Introduction message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.service.Introduction.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes an Introduction message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.service.Introduction & gyre.service.Introduction.$Shape} Introduction
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.service.Introduction & gyre.service.Introduction.$Shape;
        }

        namespace Introduction {

            /** Properties of an Introduction. */
            interface $Properties {

                /** Introduction handle */
                handle?: (number|null);

                /** Introduction message */
                message?: (Uint8Array|null);

                /** Introduction work */
                work?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of an Introduction. */
            type $Shape = gyre.service.Introduction.$Properties;
        }

        /**
         * Properties of an IntroductionReply.
         * @deprecated Use gyre.service.IntroductionReply.$Properties instead.
         */
        interface IIntroductionReply extends gyre.service.IntroductionReply.$Properties {
        }

        /** Represents an IntroductionReply. */
        class IntroductionReply {

            /**
             * Constructs a new IntroductionReply.
             * @param [properties] Properties to set
             */
            constructor(properties?: gyre.service.IntroductionReply.$Properties);

            /** Unknown fields preserved while decoding when enabled */
            $unknowns?: Uint8Array[];

            /** IntroductionReply introductions. */
            introductions: gyre.service.Introduction.$Properties[];

            /** IntroductionReply message. */
            message: Uint8Array;

            /**
             * Encodes the specified IntroductionReply message. Does not implicitly {@link gyre.service.IntroductionReply.verify|verify} messages.
             * @param message IntroductionReply message or plain object to encode
             * @param [writer] Writer to encode to
             * @returns Writer
             */
            static encode(message: gyre.service.IntroductionReply.$Properties, writer?: $protobuf.Writer): $protobuf.Writer;

            /**
             * Decodes an IntroductionReply message from the specified reader or buffer.
             * @param reader Reader or buffer to decode from
             * @param [length] Message length if known beforehand
             * @returns {gyre.service.IntroductionReply & gyre.service.IntroductionReply.$Shape} IntroductionReply
             * @throws {Error} If the payload is not a reader or valid buffer
             * @throws {$protobuf.util.ProtocolError} If required fields are missing
             */
            static decode(reader: ($protobuf.Reader|Uint8Array), length?: number): gyre.service.IntroductionReply & gyre.service.IntroductionReply.$Shape;
        }

        namespace IntroductionReply {

            /** Properties of an IntroductionReply. */
            interface $Properties {

                /** IntroductionReply introductions */
                introductions?: (gyre.service.Introduction.$Properties[]|null);

                /** IntroductionReply message */
                message?: (Uint8Array|null);

                /** Unknown fields preserved while decoding when enabled */
                $unknowns?: Uint8Array[];
            }

            /** Shape of an IntroductionReply. */
            type $Shape = gyre.service.IntroductionReply.$Properties;
        }
    }
}
