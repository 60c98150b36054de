"""A fixed example of every message. Each field is filled at least once."""

from datetime import UTC, datetime
from typing import Any

from msgspec import structs

from cartwheel.contracts import (
    addresses,
    fulfilment,
    ledger,
    notifications,
    orders,
    parcels,
    payments,
    products,
)
from cartwheel.contracts.identity import Actor, User
from cartwheel.contracts.money import Money
from cartwheel.contracts.timeline import TimelineEntry
from cartwheel.kernel import Created, Event, Page, Request

AT = datetime(2026, 3, 1, 12, 30, 15, 250_000, UTC)
LATER = datetime(2026, 3, 1, 12, 45, 15, 250_000, UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PRICE = Money(1999, "USD")

USER = User(id="8d3f", name="Zoë Müller", email="zoe@example.com")
ACTOR = Actor(user_id="8d3f", admin=True)
CUSTOMER = Actor(user_id="8d3f")
SERVICE = Actor.service("orders")
ADDRESS = orders.ShippingAddress(
    name="Zoë Müller",
    street="Lindenstraße",
    number="7b",
    city="Köln",
    zip_code="50674",
    country="DE",
)
SAVED_ADDRESS = addresses.SavedAddress(id="adr_1", address=ADDRESS, created_at=AT, updated_at=LATER)
ITEM = products.Item(product_id="prd_1", quantity=3)
PRODUCT = products.ProductView(
    id="prd_1",
    sku="MUG-1",
    name="Mug",
    description="Holds tea",
    category="kitchen",
    tags=["blue"],
    image_url="https://example.com/mug.png",
    price=PRICE,
    stock=products.StockView(available=7, reserved=3, sold=2, unshipped=1),
    status=products.ProductStatus.ACTIVE,
    version=4,
    created_at=AT,
    updated_at=LATER,
    low_stock_at=5,
)
ADJUSTMENT = products.StockAdjustmentView(
    id="adj_1",
    product_id="prd_1",
    kind=products.AdjustmentKind.STOCKTAKE,
    reason="Counted.",
    delta=-2,
    before=11,
    after=9,
    by="8d3f",
    at=AT,
    counted=9,
)
ACCOUNT = products.StockAccount(
    product_id="prd_1",
    sku="MUG-1",
    name="Mug",
    initial=14,
    adjustments=[
        products.AdjustmentSum(kind=products.AdjustmentKind.STOCKTAKE, count=1, pieces=-2)
    ],
    stock=products.Stock(available=7, reserved=3, sold=2, unshipped=1),
    by_reservations=products.Stock(available=7, reserved=3, sold=2, unshipped=1),
)
LEDGER_ENTRY = ledger.LedgerEntry(
    id="17",
    at=AT,
    kind=ledger.EntryKind.REFUND_FAILED,
    payment_id="pay_1",
    amount=PRICE,
    refund_id="rfd_1",
    dispute_id="dp_1",
    failure=payments.Failure(code="account_closed", message="The account was closed."),
)
DIFFERENCE = ledger.Difference(
    kind=ledger.DifferenceKind.REFUND_DIFFERS,
    here=PRICE,
    there=PRICE,
    refund_id="rfd_1",
    repairable=True,
)
PIECES = parcels.Pieces(product_id="prd_1", quantity=2)
SHIPMENT = parcels.ShipmentView(
    id="shp_1",
    lines=[PIECES],
    status=parcels.ShipmentStatus.DELIVERED,
    shipped_at=AT,
    carrier="DHL",
    tracking="00340434161094042557",
    delivered_at=LATER,
    failed_at=LATER,
)
CALL_OFF = parcels.CallOff(
    id="cof_1",
    lines=[PIECES],
    reason="Out of print.",
    refund_id="rfd_1",
    amount=Money(3998, "USD"),
    at=LATER,
)
RETURN = parcels.ReturnView(
    id="ret_1",
    lines=[parcels.ReturnedLine(product_id="prd_1", quantity=2, restocked=1, written_off=1)],
    reason="It wobbles.",
    status=parcels.ReturnStatus.RECEIVED,
    requested_at=AT,
    note="Send it back.",
    decided_at=LATER,
    received_at=LATER,
    refund_id="rfd_2",
    amount=Money(3998, "USD"),
)
LINE = orders.Line(product_id="prd_1", name="Mug", quantity=3, unit_price=PRICE)
ORDER = orders.OrderView(
    id="ord_1",
    number="K7QM3-XWD9A",
    user=USER,
    lines=[LINE],
    adjustments=[orders.Adjustment(kind="shipping", label="Parcel", amount=Money(490, "USD"))],
    total=Money(6487, "USD"),
    status=orders.OrderStatus.AWAITING_PAYMENT,
    shipping_address=ADDRESS,
    fulfillment=orders.Fulfillment(
        status=orders.FulfillmentStatus.SHIPPED, tracking="00340434161094042557"
    ),
    payment_attempts=1,
    expires_at=LATER,
    version=2,
    created_at=AT,
    updated_at=LATER,
    refunded=Money(1999, "USD"),
    shipments=[SHIPMENT],
    called_off=[CALL_OFF],
    returns=[RETURN],
)
SNAPSHOT = orders.OrderSnapshot(
    id="ord_1", number="K7QM3-XWD9A", user=USER, lines=[LINE], total=Money(5997, "USD")
)
CARD = payments.CardSummary(brand="visa", last4="0002")
FAILURE = payments.Failure(code="card_declined", message="Your card was declined.")
PAYMENT = payments.PaymentView(
    id="pay_1",
    order_id="ord_1",
    user_id="8d3f",
    amount=Money(5997, "USD"),
    method=payments.Method.CARD,
    provider="simulator",
    provider_reference="pi_1",
    card=CARD,
    status=payments.PaymentStatus.REJECTED,
    failure=FAILURE,
    timeline=[payments.PaymentEntry(type="declined", at=LATER, by="simulator", because_of="evt_1")],
    created_at=AT,
    updated_at=LATER,
    refunds=[
        payments.Refund(
            id="rfd_1",
            amount=Money(5997, "USD"),
            reason="late capture",
            status=payments.RefundStatus.SUCCEEDED,
            provider="simulator",
        ),
        payments.Refund(
            id="rfd_2",
            amount=Money(1999, "USD"),
            reason="one came broken",
            status=payments.RefundStatus.FAILED,
            provider="simulator",
            failure=payments.Failure(code="account_closed", message="The account was closed."),
            at=LATER,
            by_other_means=True,
        ),
    ],
    disputes=[
        payments.Dispute(
            id="dp_1",
            amount=Money(1999, "USD"),
            status=payments.DisputeStatus.LOST,
            reason="fraudulent",
            at=LATER,
            closed_at=LATER,
        )
    ],
    authorized=Money(5997, "USD"),
    capture_before=LATER,
    next_action=payments.Redirect(url="https://pay.example.com/approve/1", expires_at=LATER),
)
SENT = notifications.MailView(
    id="evt_1",
    to="zoe@example.com",
    reason="order.paid.v1",
    order_id="ord_1",
    order_number="K7QM3-XWD9A",
    subject="Order K7QM3-XWD9A: payment received",
    text="Hello Zoë Müller,",
    status=notifications.MailStatus.SENT,
    sends=1,
    message_id="0100018d",
    failure="MessageRejected",
    created_at=AT,
    sent_at=LATER,
    failures=2,
    resends=(notifications.Resend(by="alice@laptop", at=LATER),),
)

REQUESTS: dict[type[Request[Any]], tuple[list[Request[Any]], list[Any]]] = {
    products.CreateProduct: (
        [
            products.CreateProduct(
                traceparent=TRACE,
                request_id="5c0e",
                body_hash="e3b0",
                name="Mug",
                description="Holds tea",
                price=PRICE,
                stock=12,
                sku="MUG-1",
                category="kitchen",
                tags=["blue"],
                image_url="https://example.com/mug.png",
                low_stock_at=5,
                actor=ACTOR,
            )
        ],
        [Created(made=PRODUCT, replayed=True)],
    ),
    products.UpdateProduct: (
        [
            products.UpdateProduct(product_id="prd_1", actor=ACTOR),
            products.UpdateProduct(
                product_id="prd_1",
                if_version=3,
                name="Mug",
                description="Holds tea",
                price=PRICE,
                sku="MUG-1",
                category="kitchen",
                tags=["blue"],
                image_url="https://example.com/mug.png",
                low_stock_at=5,
            ),
        ],
        [PRODUCT],
    ),
    products.ArchiveProduct: (
        [products.ArchiveProduct(product_id="prd_1", actor=ACTOR)],
        [PRODUCT],
    ),
    products.RestoreProduct: (
        [products.RestoreProduct(product_id="prd_1", actor=ACTOR)],
        [PRODUCT],
    ),
    products.GetProduct: ([products.GetProduct(product_id="prd_1", actor=ACTOR)], [PRODUCT]),
    products.ListProducts: (
        [
            products.ListProducts(
                limit=20,
                cursor="cHJkXzE",
                status=products.ProductStatus.ARCHIVED,
                actor=Actor.anybody(),
            )
        ],
        [Page(data=[PRODUCT], next_cursor="cHJkXzE")],
    ),
    products.AdjustStock: (
        [
            products.AdjustStock(
                request_id="5c0e",
                body_hash="e3b0",
                product_id="prd_1",
                kind=products.AdjustmentKind.RECEIVED,
                reason="From the printer.",
                delta=12,
                counted=9,
                expected=11,
                actor=ACTOR,
            )
        ],
        [Created(made=ADJUSTMENT, replayed=True)],
    ),
    products.GetAdjustment: (
        [products.GetAdjustment(product_id="prd_1", adjustment_id="adj_1", actor=ACTOR)],
        [ADJUSTMENT],
    ),
    products.ListAdjustments: (
        [products.ListAdjustments(product_id="prd_1", limit=20, cursor="YWRqXzE", actor=ACTOR)],
        [Page(data=[ADJUSTMENT], next_cursor="YWRqXzE")],
    ),
    products.ExplainStock: (
        [products.ExplainStock(product_id="prd_1", sku="MUG-1", actor=ACTOR)],
        [ACCOUNT],
    ),
    products.RepairStock: (
        [products.RepairStock(product_id="prd_1", reason="Drifted.", actor=ACTOR)],
        [products.StockRepair(before=ACCOUNT, after=ACCOUNT, correction=ADJUSTMENT)],
    ),
    products.ReserveStock: (
        [
            products.ReserveStock(
                request_id="5c0e",
                order_id="ord_1",
                body_hash="e3b0",
                items=[ITEM],
                actor=SERVICE,
                owner="8d3f",
                max_live=10,
                max_per_line=1_000,
                max_pieces=2_000,
                expected_total=Money(5997, "USD"),
            )
        ],
        [
            products.Reservation(
                order_id="ord_1",
                body_hash="e3b0",
                lines=[
                    products.ReservedLine(
                        product_id="prd_1", name="Mug", quantity=3, unit_price=PRICE
                    )
                ],
            )
        ],
    ),
    orders.PlaceOrder: (
        [
            orders.PlaceOrder(
                request_id="5c0e",
                body_hash="e3b0",
                user=USER,
                items=[ITEM],
                shipping_address=ADDRESS,
                expected_total=Money(5997, "USD"),
            )
        ],
        [Created(made=ORDER, replayed=True)],
    ),
    orders.GetOrder: ([orders.GetOrder(order_id="ord_1", actor=ACTOR)], [ORDER]),
    orders.ListOrders: (
        [
            orders.ListOrders(
                limit=20,
                cursor="b3JkXzE",
                status=orders.OrderStatus.PAID,
                user_id="8d3f",
                number="K7QM3-XWD9A",
                email="zoe@example.com",
                placed_after=AT,
                placed_before=LATER,
                actor=ACTOR,
            )
        ],
        [Page(data=[ORDER], next_cursor="b3JkXzE")],
    ),
    addresses.CreateAddress: (
        [
            addresses.CreateAddress(
                request_id="5c0e", body_hash="e3b0", address=ADDRESS, actor=CUSTOMER
            )
        ],
        [Created(made=SAVED_ADDRESS, replayed=True)],
    ),
    addresses.ListAddresses: (
        [addresses.ListAddresses(actor=CUSTOMER)],
        [Page(data=[SAVED_ADDRESS], next_cursor="YWRyXzE")],
    ),
    addresses.GetAddress: (
        [addresses.GetAddress(address_id="adr_1", actor=CUSTOMER)],
        [SAVED_ADDRESS],
    ),
    addresses.ChangeAddress: (
        [addresses.ChangeAddress(address_id="adr_1", address=ADDRESS, actor=CUSTOMER)],
        [SAVED_ADDRESS],
    ),
    addresses.DeleteAddress: (
        [addresses.DeleteAddress(address_id="adr_1", actor=CUSTOMER)],
        [None],
    ),
    orders.GetTimeline: (
        [orders.GetTimeline(order_id="ord_1", actor=ACTOR)],
        [
            [
                TimelineEntry(
                    type="order.payment_failed.v1",
                    at=AT,
                    by="payments",
                    note="Declined.",
                    text="A payment was declined, and the customer may try another.",
                    event_id="evt_2",
                    because_of="evt_1",
                    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
                )
            ]
        ],
    ),
    orders.GetPayableOrder: (
        [
            orders.GetPayableOrder(
                order_id="ord_1", user_id="8d3f", shipping_address=ADDRESS, actor=ACTOR
            )
        ],
        [
            orders.PayableOrder(
                order_id="ord_1",
                total=Money(5997, "USD"),
                attempts=3,
                declines=1,
                action_until=LATER,
            )
        ],
    ),
    orders.CancelOrder: (
        [orders.CancelOrder(order_id="ord_1", actor=ACTOR, reason="Changed my mind.")],
        [ORDER],
    ),
    orders.GetPriceOfPieces: (
        [
            orders.GetPriceOfPieces(
                order_id="ord_1",
                pieces=[orders.Pieces(product_id="prd_1", quantity=1)],
                actor=ACTOR,
            )
        ],
        [Money(1999, "USD")],
    ),
    orders.GetOrderStatuses: (
        [orders.GetOrderStatuses(order_ids=["ord_1", "ord_2"], actor=SERVICE)],
        [[orders.OrderState(order_id="ord_1", status=orders.OrderStatus.CANCELED)]],
    ),
    fulfilment.ShipOrder: (
        [
            fulfilment.ShipOrder(
                request_id="8c2e",
                body_hash="b94d",
                order_id="ord_1",
                lines=[PIECES],
                carrier="DHL",
                tracking="00340434161094042557",
                actor=ACTOR,
            )
        ],
        [Created(made=SHIPMENT, replayed=True)],
    ),
    fulfilment.CallOffPieces: (
        [
            fulfilment.CallOffPieces(
                request_id="8c2e",
                body_hash="b94d",
                order_id="ord_1",
                lines=[orders.Pieces(product_id="prd_1", quantity=1)],
                reason="Out of print.",
                actor=ACTOR,
            )
        ],
        [ORDER],
    ),
    fulfilment.GetShipment: (
        [fulfilment.GetShipment(order_id="ord_1", shipment_id="shp_1", actor=ACTOR)],
        [SHIPMENT],
    ),
    fulfilment.ReportDelivered: (
        [
            fulfilment.ReportDelivered(
                request_id="8c2e",
                body_hash="b94d",
                order_id="ord_1",
                shipment_id="shp_1",
                actor=ACTOR,
            )
        ],
        [SHIPMENT],
    ),
    fulfilment.ReportDeliveryFailed: (
        [
            fulfilment.ReportDeliveryFailed(
                request_id="8c2e",
                body_hash="b94d",
                order_id="ord_1",
                shipment_id="shp_1",
                reason="Nobody was there.",
                actor=ACTOR,
            )
        ],
        [SHIPMENT],
    ),
    fulfilment.RequestReturn: (
        [
            fulfilment.RequestReturn(
                request_id="8c2e",
                body_hash="b94d",
                order_id="ord_1",
                lines=[PIECES],
                reason="It wobbles.",
                actor=CUSTOMER,
            )
        ],
        [Created(made=RETURN, replayed=True)],
    ),
    fulfilment.GetReturn: (
        [fulfilment.GetReturn(order_id="ord_1", return_id="ret_1", actor=CUSTOMER)],
        [RETURN],
    ),
    fulfilment.DecideReturn: (
        [
            fulfilment.DecideReturn(
                request_id="8c2e",
                body_hash="b94d",
                order_id="ord_1",
                return_id="ret_1",
                accepted=True,
                note="Send it back.",
                actor=ACTOR,
            )
        ],
        [RETURN],
    ),
    fulfilment.ReceiveReturn: (
        [
            fulfilment.ReceiveReturn(
                request_id="8c2e",
                body_hash="b94d",
                order_id="ord_1",
                return_id="ret_1",
                lines=[fulfilment.Received(product_id="prd_1", restocked=1, written_off=1)],
                actor=ACTOR,
            )
        ],
        [RETURN],
    ),
    fulfilment.GiveUpCash: (
        [
            fulfilment.GiveUpCash(
                order_id="ord_1", payment_id="pay_1", canceled_by="8d3f", actor=SERVICE
            )
        ],
        [None],
    ),
    payments.CreatePayment: (
        [
            payments.CreatePayment(
                request_id="5c0e",
                body_hash="e3b0",
                actor=ACTOR,
                order_id="ord_1",
                method=payments.CardToken(token="pm_1"),
                shipping_address=ADDRESS,
                payment_id="pay_1",
                return_url="https://shop.example.com/back",
            ),
            payments.CreatePayment(
                request_id="5c0e",
                body_hash="e3b0",
                actor=ACTOR,
                order_id="ord_1",
                method=payments.CashOnDelivery(),
            ),
        ],
        [Created(made=PAYMENT, replayed=True)],
    ),
    payments.ConfirmPayment: (
        [payments.ConfirmPayment(payment_id="pay_1", actor=ACTOR)],
        [PAYMENT],
    ),
    payments.CancelPayment: (
        [payments.CancelPayment(request_id="5c0e", payment_id="pay_1", actor=ACTOR)],
        [structs.replace(PAYMENT, status=payments.PaymentStatus.CANCELED)],
    ),
    payments.CreateRefund: (
        [
            payments.CreateRefund(
                request_id="5c0e",
                body_hash="9f86",
                payment_id="pay_1",
                reason="one came broken",
                amount=Money(1999, "USD"),
                lines=[orders.Pieces(product_id="prd_1", quantity=1)],
                by_other_means=True,
                actor=ACTOR,
            )
        ],
        [Created(made=PAYMENT.refunds[1], replayed=True)],
    ),
    payments.GetRefund: (
        [payments.GetRefund(payment_id="pay_1", refund_id="rfd_2", actor=ACTOR)],
        [PAYMENT.refunds[1]],
    ),
    payments.ReportRefund: (
        [
            payments.ReportRefund(
                provider="simulator",
                payment_id="pay_1",
                refund_id="rfd_2",
                amount=Money(1999, "USD"),
                failure=FAILURE,
                actor=ACTOR,
            )
        ],
        [None],
    ),
    payments.ReportAuthorization: (
        [payments.ReportAuthorization(provider="simulator", payment_id="pay_1", actor=ACTOR)],
        [None],
    ),
    payments.CapturePayment: (
        [
            payments.CapturePayment(
                payment_id="pay_1", amount=Money(5997, "USD"), wanted_by="user-ada", actor=ACTOR
            )
        ],
        [Money(5997, "USD")],
    ),
    payments.ReportDispute: (
        [
            payments.ReportDispute(
                provider="simulator",
                payment_id="pay_1",
                dispute_id="dp_1",
                amount=Money(1999, "USD"),
                status=payments.DisputeStatus.NEEDS_RESPONSE,
                reason="fraudulent",
                actor=ACTOR,
            )
        ],
        [None],
    ),
    payments.ListDisputed: (
        [
            payments.ListDisputed(
                limit=20, cursor="cGF5XzE", status=payments.DisputeStatus.WON, actor=ACTOR
            )
        ],
        [Page(data=[PAYMENT], next_cursor="cGF5XzE")],
    ),
    ledger.GetPaymentAtProvider: (
        [ledger.GetPaymentAtProvider(payment_id="pay_1", actor=ACTOR)],
        [
            ledger.PaymentAtProvider(
                payment_id="pay_1",
                provider="simulator",
                reference="pi_1",
                entries=[LEDGER_ENTRY],
                differences=[DIFFERENCE],
            )
        ],
    ),
    ledger.ListLedger: (
        [ledger.ListLedger(since=AT, until=LATER, limit=500, actor=ACTOR, cursor="17")],
        [Page(data=[LEDGER_ENTRY], next_cursor="18")],
    ),
    ledger.ReconcilePayment: (
        [ledger.ReconcilePayment(payment_id="pay_1", repair=True, actor=ACTOR)],
        [ledger.Reconciled(payment_id="pay_1", differences=[DIFFERENCE], left=[DIFFERENCE])],
    ),
    payments.ReportVerdict: (
        [
            payments.ReportVerdict(
                provider="simulator",
                payment_id="pay_1",
                captured=False,
                failure=FAILURE,
                reference="pi_1",
                method=payments.Method.CARD,
                amount=Money(5997, "USD"),
                card=CARD,
                actor=SERVICE,
            )
        ],
        [None],
    ),
    payments.GetPayment: ([payments.GetPayment(payment_id="pay_1", actor=ACTOR)], [PAYMENT]),
    payments.GetPaymentTimeline: (
        [payments.GetPaymentTimeline(payment_id="pay_1", actor=ACTOR)],
        [
            [
                TimelineEntry(
                    type="payment.captured.v1",
                    at=AT,
                    by="simulator",
                    note="",
                    text="The money was captured.",
                    event_id="evt_1",
                    because_of="evt_0",
                    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
                )
            ]
        ],
    ),
    payments.ListPayments: (
        [
            payments.ListPayments(
                limit=20,
                cursor="cGF5XzE",
                order_id="ord_1",
                status=payments.PaymentStatus.PAID,
                user_id="8d3f",
                method=payments.Method.CARD,
                created_after=AT,
                created_before=LATER,
                actor=ACTOR,
                provider="simulator",
                amount=PRICE,
            )
        ],
        [Page(data=[PAYMENT], next_cursor="cGF5XzE")],
    ),
    notifications.ListMail: (
        [
            notifications.ListMail(
                limit=20,
                cursor="ZXZ0XzE",
                order_id="ord_1",
                order_number="PB6G1-EF32P",
                to="zoe@example.com",
                actor=ACTOR,
            )
        ],
        [Page(data=[SENT], next_cursor="ZXZ0XzE")],
    ),
    notifications.ResendMail: (
        [
            notifications.ResendMail(
                traceparent=TRACE, mail_id="evt_1", by="alice@laptop", actor=ACTOR
            )
        ],
        [SENT],
    ),
}
"""Requests and their answers."""

EVENTS: dict[type[Event], list[Event]] = {
    products.ProductCreated: [products.ProductCreated(product=PRODUCT)],
    products.ProductUpdated: [products.ProductUpdated(product=PRODUCT)],
    products.ProductRestored: [products.ProductRestored(product=PRODUCT)],
    products.ProductArchived: [products.ProductArchived(product=PRODUCT)],
    products.StockShortage: [products.StockShortage(order_id="ord_1")],
    products.StockAdjusted: [products.StockAdjusted(adjustment=ADJUSTMENT)],
    notifications.DeadLettersFound: [
        notifications.DeadLettersFound(
            service="orders",
            count=3,
            first_id="evt_1",
            first_type="payment.captured.v1",
            reason="by zero",
            since=AT,
        )
    ],
    products.StockLow: [
        products.StockLow(product_id="prd_1", sku="MUG-1", name="Mug", available=5, low_stock_at=5)
    ],
    fulfilment.ParcelShipped: [fulfilment.ParcelShipped(order=SNAPSHOT, shipment=SHIPMENT)],
    fulfilment.ParcelDelivered: [fulfilment.ParcelDelivered(order=SNAPSHOT, shipment=SHIPMENT)],
    fulfilment.DeliveryFailed: [
        fulfilment.DeliveryFailed(order=SNAPSHOT, shipment=SHIPMENT, reason="Nobody was there.")
    ],
    fulfilment.PiecesCalledOff: [
        fulfilment.PiecesCalledOff(order=SNAPSHOT, called_off=CALL_OFF, reason="Out of print.")
    ],
    fulfilment.ReturnRequested: [
        fulfilment.ReturnRequested(order=SNAPSHOT, returned=RETURN, reason="It wobbles.")
    ],
    fulfilment.ReturnAccepted: [fulfilment.ReturnAccepted(order=SNAPSHOT, returned=RETURN)],
    fulfilment.ReturnDeclined: [fulfilment.ReturnDeclined(order=SNAPSHOT, returned=RETURN)],
    fulfilment.ReturnReceived: [fulfilment.ReturnReceived(order=SNAPSHOT, returned=RETURN)],
    orders.OrderPlaced: [orders.OrderPlaced(order=SNAPSHOT)],
    orders.OrderAuthorized: [orders.OrderAuthorized(order=SNAPSHOT, payment_id="pay_1")],
    orders.OrderConfirmationDue: [orders.OrderConfirmationDue(order=SNAPSHOT)],
    orders.OrderPaid: [
        orders.OrderPaid(order=SNAPSHOT, payment_id="pay_1", amount=Money(4248, "USD"))
    ],
    orders.OrderPaymentFailed: [
        orders.OrderPaymentFailed(
            order=SNAPSHOT,
            payment_id="pay_1",
            reason="Your card was declined.",
            attempts_left=2,
        )
    ],
    orders.OrderRejected: [orders.OrderRejected(order=SNAPSHOT, reason="Your card was declined.")],
    orders.OrderCanceled: [
        orders.OrderCanceled(order=SNAPSHOT, reason="Changed my mind.", was_paid=True)
    ],
    orders.OrderRefundDue: [
        orders.OrderRefundDue(
            order_id="ord_1",
            payment_id="pay_1",
            amount=Money(5997, "USD"),
            reason="too late",
            refund_id="rfd_2",
        )
    ],
    orders.OrderPaymentUnwanted: [
        orders.OrderPaymentUnwanted(
            order_id="ord_1", payment_id="pay_1", reason="the order is CANCELED"
        )
    ],
    orders.OrderActionRequired: [
        orders.OrderActionRequired(order=SNAPSHOT, payment_id="pay_1", expires_at=LATER)
    ],
    orders.OrderRefunded: [
        orders.OrderRefunded(order=SNAPSHOT, payment_id="pay_1", amount=Money(5997, "USD"))
    ],
    payments.PaymentPending: [
        payments.PaymentPending(
            payment_id="pay_1",
            order_id="ord_1",
            method=payments.Method.CASH_ON_DELIVERY,
            shipping_address=ADDRESS,
        )
    ],
    payments.PaymentActionRequired: [
        payments.PaymentActionRequired(payment_id="pay_1", order_id="ord_1", expires_at=LATER)
    ],
    payments.PaymentCaptured: [
        payments.PaymentCaptured(
            payment_id="pay_1",
            order_id="ord_1",
            amount=Money(5997, "USD"),
            shipping_address=ADDRESS,
        )
    ],
    payments.PaymentAuthorized: [
        payments.PaymentAuthorized(
            payment_id="pay_1",
            order_id="ord_1",
            amount=Money(5997, "USD"),
            capture_before=AT,
            shipping_address=ADDRESS,
        )
    ],
    payments.PaymentCaptureFailed: [
        payments.PaymentCaptureFailed(
            payment_id="pay_1", order_id="ord_1", amount=Money(5997, "USD"), failure=FAILURE
        )
    ],
    payments.PaymentDeclined: [
        payments.PaymentDeclined(
            payment_id="pay_1",
            order_id="ord_1",
            failure=FAILURE,
            counts=False,
            shipping_address=ADDRESS,
        )
    ],
    payments.PaymentCanceled: [payments.PaymentCanceled(payment_id="pay_1", order_id="ord_1")],
    payments.PaymentRefundFailed: [
        payments.PaymentRefundFailed(
            payment_id="pay_1",
            order_id="ord_1",
            refund_id="rfd_1",
            amount=Money(5997, "USD"),
            failure=FAILURE,
        )
    ],
    payments.PaymentDisputeOpened: [
        payments.PaymentDisputeOpened(
            payment_id="pay_1",
            order_id="ord_1",
            dispute_id="dp_1",
            amount=Money(1999, "USD"),
            reason="fraudulent",
        )
    ],
    payments.PaymentDisputeClosed: [
        payments.PaymentDisputeClosed(
            payment_id="pay_1",
            order_id="ord_1",
            dispute_id="dp_1",
            amount=Money(1999, "USD"),
            won=True,
        )
    ],
    payments.PaymentRefunded: [
        payments.PaymentRefunded(
            payment_id="pay_1", order_id="ord_1", refund_id="rfd_1", amount=Money(5997, "USD")
        )
    ],
    notifications.NotificationSent: [
        notifications.NotificationSent(order_id="ord_1", reason="order.paid.v1")
    ],
    notifications.NotificationFailed: [
        notifications.NotificationFailed(
            order_id="ord_1", reason="order.paid.v1", failure="MessageRejected"
        )
    ],
}
